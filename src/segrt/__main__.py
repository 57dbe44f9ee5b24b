"""Run the command line as ``python -m segrt``, where its script is not on the path."""

from segrt.cli import main

if __name__ == "__main__":
    main()
