#!/bin/sh
# install.sh PREFIX: install the program and its pinned packages into a new environment at PREFIX.
#
# The container image is made with this script and a test runs it as well, so what is tested is what
# is shipped. PYTHON names the interpreter; pip's own PIP_* variables work as usual.
set -eu

prefix=$1
source=$(cd "$(dirname "$0")/.." && pwd)
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT

pip() {
    "$prefix/bin/python" -m pip --disable-pip-version-check "$@"
}

"${PYTHON:-python3}" -m venv "$prefix"
pip wheel --no-deps --wheel-dir "$wheels" "$source"
pip install --constraint "$source/constraints.txt" "$wheels"/*.whl
