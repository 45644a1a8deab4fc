"""``python -m hyperfunc``: the command `hyperfunc`."""

from hyperfunc.commands import main

if __name__ == "__main__":
    main()
