# Sourced by the scripts beside it: finds a Python, makes .venv on the first call, is instant after that.
# $root is the repository.

fits() {
    [ -x "$1" ] && "$1" -c 'import sys, ssl, sqlite3; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 15))' 2>/dev/null
}

find_python() {
    for name in python3.13 python3.12 python3.14 python3 python; do
        found=$(command -v "$name" 2>/dev/null) && fits "$found" && echo "$found" && return
    done
    # Where pyenv keeps them, whosever HOME this is: beside the one on PATH.
    beside=$(dirname -- "$(dirname -- "$(dirname -- "$(readlink -f -- "$(command -v python3)")")")")
    for found in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[234]*/bin/python3 "$beside"/3.1[234]*/bin/python3 \
        /opt/homebrew/bin/python3.1[234] /usr/local/bin/python3.1[234] /usr/bin/python3.1[234]; do
        fits "$found" && echo "$found" && return
    done
    if command -v uv >/dev/null 2>&1; then
        found=$(uv python find '>=3.12,<3.15' 2>/dev/null) && fits "$found" && echo "$found" && return
        uv python install --quiet 3.13 >/dev/null 2>&1 && uv python find 3.13 2>/dev/null && return
    fi
    return 1
}

say() { echo "ai-cache: $*" >&2; }

# ensure_venv run|dev
ensure_venv() {
    stamp="$root/.venv/.ai-cache-$1"
    now=$(cat "$root/pyproject.toml" "$root/requirements.lock" | cksum)
    for made in "$stamp" "$root/.venv/.ai-cache-dev"; do # what the tests need holds what a run needs
        [ -f "$made" ] && [ "$(cat "$made")" = "$now" ] && [ -x "$root/.venv/bin/python" ] && return
    done

    waited=0
    until mkdir "$root/.venv.lock" 2>/dev/null; do
        [ $waited -eq 0 ] && say "another first call is setting up .venv; waiting (if there is none, remove .venv.lock)"
        waited=$((waited + 1))
        [ $waited -gt 300 ] && say "still locked after 5 minutes; remove $root/.venv.lock and try again" && exit 125
        sleep 1
    done
    trap 'rmdir "$root/.venv.lock" 2>/dev/null' EXIT
    trap 'exit 130' INT TERM
    make_venv "$1" && echo "$now" >"$stamp"
    done=$?
    rmdir "$root/.venv.lock"
    trap - EXIT INT TERM
    return $done
}

make_venv() {
    started=$(date +%s)
    if ! { [ -x "$root/.venv/bin/python" ] && fits "$root/.venv/bin/python"; }; then
        python=$(find_python) || {
            say "Python 3.12 or newer (with ssl and sqlite3) is needed; install it (apt install python3.12, brew install python@3.13, or uv) and call this again"
            exit 125
        }
        say "first call: making .venv with $("$python" --version) (step 1 of 2)"
        rm -rf "$root/.venv"
        if ! "$python" -m venv "$root/.venv" >/dev/null 2>&1; then
            command -v uv >/dev/null 2>&1 && uv venv --quiet --python "$python" "$root/.venv" || {
                say "$python cannot make a virtual environment; install its venv package (apt install python3-venv) or uv"
                exit 125
            }
        fi
    fi
    extra=
    [ "$1" = dev ] && extra='[dev]'
    say "installing mitmproxy and what else it takes into .venv, once; under two minutes (step 2 of 2)"
    if command -v uv >/dev/null 2>&1; then
        uv pip install --quiet --python "$root/.venv/bin/python" -c "$root/requirements.lock" -e "$root$extra" || return 1
    else
        "$root/.venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check \
            -c "$root/requirements.lock" -e "$root$extra" || return 1
    fi
    say "ready after $(($(date +%s) - started)) s"
}

root=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
