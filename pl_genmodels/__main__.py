"""`python -m pl_genmodels`."""

import os


def main() -> None:
    """Set what has to be set before torch is imported, then run the command line."""
    # threads that spin while they wait cost several times the work itself when other programs share the cores
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from pl_genmodels import cli

    cli.main()


if __name__ == "__main__":
    main()
