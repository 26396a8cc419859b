"""`python -m pl_genmodels`."""

from pl_genmodels.cli import main

if __name__ == "__main__":
    main()
