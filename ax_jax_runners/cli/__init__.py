"""The command line ``ax-jax``: one module a command, which imports what is slow only when used."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    from ax_jax_runners.cli.app import app

    app()
