"""``python -m tams_gql``: the command line where its script is not on the path."""

from __future__ import annotations

from tams_gql.cli import main

main(prog_name="tams-gql")
