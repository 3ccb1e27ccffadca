"""`python -m dispatcher`, the same as the command `dispatcher`."""

from dispatcher.cli import main

# Workers import this module again.
if __name__ == "__main__":
    main()
