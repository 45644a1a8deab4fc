"""Train a model: ``python train.py ...`` is ``hyperfunc train ...``.

python train.py --workdir=runs/sr --data_dir=DATA
python train.py --workdir=runs/faces --preset=faces --run.steps=20000
"""

from hyperfunc.commands import train

main, parse = train.main, train.parse

if __name__ == "__main__":
    main()
