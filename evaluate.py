"""Measure models: ``python evaluate.py ...`` is ``hyperfunc evaluate ...``.

python evaluate.py --dataset=urban100 --scale=3
python evaluate.py --dataset=set5 --scale=2 --workdir=runs/sr --json=out.json
python evaluate.py --dataset=set5 --scale=2 --methods=bicubic,srcnn,hyperfunc --srcnn=runs/srcnn_x2
python evaluate.py --task=denoise --dataset=cbsd68 --level=15,25,50 --workdir=runs/restore
python evaluate.py --task=interpolate --dataset=faces --workdir=runs/faces --out=figures/
"""

from hyperfunc.commands import evaluate

main = evaluate.main

if __name__ == "__main__":
    main()
