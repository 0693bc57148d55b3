#!/usr/bin/env bash
# Bring the Python environment in the given folder up to date: `make setup` calls this.
#
# A stamp inside the environment tells what it was made from, so a second call installs nothing; a
# marker beside it tells that an install was begun and not ended, and then it is repeated.
set -euo pipefail

env=$1
python=$env/bin/python
stamp=$env/.deepmucs-setup
unfinished=$env/.deepmucs-unfinished
log=$env/setup.log

say() { echo "set-up: $*"; }

fail() {
    say "$*" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# What the environment depends on: the pins, the package's description, this script, the interpreter
# and the place of the repository, which the editable install points to.
state() {
    { cat requirements.txt pyproject.toml setup_environment.sh; "$python" -V; pwd; } | cksum
}

quietly() {
    "$@" >>"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "failed; the whole log is $log"; }
}

pip() {
    quietly "$python" -m pip --disable-pip-version-check --no-input install "$@"
}

if [ -f "$stamp" ] && [ ! -f "$unfinished" ] && new_enough "$python" \
    && [ "$(cat "$stamp")" = "$(state)" ]; then
    exit 0
fi

if [ "$env" = .venv ] && { [ -f "$unfinished" ] || ! new_enough "$python"; }; then
    for base in python3.11 python3 python3.12 python3.13 ""; do
        [ -n "$base" ] || fail "no Python 3.11 or newer found; install one, or use conda:" \
            "conda env create -f environment.yml && conda activate deepmucs && make setup"
        new_enough "$base" && break
    done
    say "creating .venv with $("$base" -V)"
    rm -rf .venv
    mkdir .venv
    touch "$unfinished"
    quietly "$base" -m venv .venv
fi
new_enough "$python" || fail "$python is older than Python 3.11; take a newer one (environment.yml)"

touch "$unfinished"
: >"$log"
say "installing the pinned packages (5.5 GB, a few minutes the first time) …"
pip -r requirements.txt

if ! "$python" -c "import detectron2" 2>/dev/null; then
    # Its wheel is tagged for CPython 3.10 because of one compiled file that nothing here uses; all
    # the rest is plain Python, so it goes straight into the environment's package folder.
    say "installing detectron2 …"
    packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    pip --no-deps --only-binary=:all: --python-version 3.10 --target "$packages" \
        sal-detectron2==0.7.2
fi

say "installing this package …"
pip --no-deps --no-build-isolation --editable .

state >"$stamp"
rm "$unfinished"
say "ready: $("$python" -V) in $env"
