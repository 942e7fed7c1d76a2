#!/bin/sh
# Makes .venv hold exactly what requirements-dev.lock names, and the project itself as an editable install.
# Needs python3 >= 3.11 and nothing else of Python: where ensurepip is missing, pip comes from Debian's package.
set -eu
cd "$(dirname "$0")/../.."

python=${PYTHON:-python3}
cache=${TOKENOUTPUT_CACHE_DIR:-.run-packages}
lock=requirements-dev.lock
log=$cache/venv.log

fail() {
    echo "$1" >&2
    exit 1
}

# Runs a command; when it fails, quotes the end of what it said.
quietly() {
    "$@" >>"$log" 2>&1 && return
    tail -n 12 "$log" | sed 's/^/    /' >&2
    fail "The virtual environment cannot be made: check the network, then try again (all of the above: $log)."
}

# What the environment is made from; the path too, because its scripts name their interpreter by path.
made_from() {
    pwd
    cat "$lock"
    sed "/^\[tool/,\$d" pyproject.toml
}

make_venv() {
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        quietly "$python" -m venv --clear .venv
        return
    fi
    "$python" -m deploy.local.debian "$cache/early" python3-pip-whl python3-venv
    quietly "$python" -m venv --clear --without-pip .venv
    wheel=$(echo "$cache"/early/usr/share/python-wheels/pip-*.whl)
    quietly .venv/bin/python "$wheel/pip" install --no-index "$wheel"
}

names() {
    sed -n 's/^\([A-Za-z0-9._-]*\)==.*/\1/p' | tr 'A-Z_.' 'a-z--' | sort -u
}

# What is installed and not in the lock, for instance because it was in the last one.
leftovers() {
    { names <"$lock"; echo pip; } | sort -u >"$cache/locked"
    .venv/bin/python -m pip list --format=freeze --exclude tokenoutput | names | comm -23 - "$cache/locked"
}

command -v "$python" >/dev/null || fail "There is no $python: install Python 3.11 or newer."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old: install Python 3.11 or newer, or name one, as in PYTHON=python3.12 make up."
mkdir -p "$cache"
exec 9>"$cache/venv.lock"
flock 9
made_from | cmp -s - .venv/made-from && exit 0

echo "  Making .venv from $lock …"
rm -f .venv/made-from
.venv/bin/python -m pip --version >/dev/null 2>&1 || make_venv
quietly .venv/bin/python -m pip install --no-compile --progress-bar off --require-hashes -r "$lock"
old=$(leftovers)
# shellcheck disable=SC2086 # one name a word
[ -z "$old" ] || quietly .venv/bin/python -m pip uninstall --yes $old
quietly .venv/bin/python -m pip install --no-deps --no-build-isolation --editable .
made_from >.venv/made-from
