# Sourced by the scripts beside it: finds a Python, makes .venv on the first call, is instant after that.
# $root is the repository.

fits() {
    [ -x "$1" ] && "$1" -c 'import sys, ssl, sqlite3; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 15))' 2>/dev/null
}

find_uv() {
    for uv in "$(command -v uv 2>/dev/null)" "${HOME-}/.local/bin/uv" "${HOME-}/.cargo/bin/uv"; do
        [ -x "$uv" ] && [ -f "$uv" ] && echo "$uv" && return # its installer's folder may not be on PATH yet
    done
    return 1
}

find_python() {
    for name in python3.13 python3.12 python3.14 python3 python; do
        found=$(command -v "$name" 2>/dev/null) && fits "$found" && echo "$found" && return
    done
    # Where pyenv keeps them, whosever HOME this is: beside the one on PATH, which may be a shim.
    beside=$(dirname -- "$(python3 -c 'import sys; print(sys.base_prefix)' 2>/dev/null)")
    for found in "${PYENV_ROOT:-${HOME-}/.pyenv}"/versions/3.1[234]*/bin/python3 "$beside"/3.1[234]*/bin/python3 \
        /opt/homebrew/bin/python3.1[234] /usr/local/bin/python3.1[234] /usr/bin/python3.1[234]; do
        fits "$found" && echo "$found" && return
    done
    if [ -n "$uv" ]; then
        found=$("$uv" python find '>=3.12,<3.15' 2>/dev/null) && fits "$found" && echo "$found" && return
        "$uv" python install --quiet 3.13 >/dev/null 2>&1 && "$uv" python find 3.13 2>/dev/null && return
    fi
    return 1
}

say() { echo "ai-cache: $*" >&2; }

# ensure_venv run|dev|docs
ensure_venv() {
    stamp="$root/.venv/.ai-cache-$1"
    now=$(cat "$root/pyproject.toml" "$root/requirements.lock" | cksum)
    for made in "$stamp" "$root/.venv/.ai-cache-dev"; do # what the tests need holds what a run needs
        [ "$1" = docs ] && [ "$made" != "$stamp" ] && continue # but not what the pages need
        [ -f "$made" ] && [ "$(cat "$made")" = "$now" ] && [ -x "$root/.venv/bin/python" ] && return
    done

    trap 'exit 130' INT TERM
    take_lock
    trap 'rm -rf "$lock"' EXIT
    made_meanwhile=
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ] && made_meanwhile=yes
    done=0
    if [ -z "$made_meanwhile" ]; then
        make_venv "$1" && echo "$now" >"$stamp"
        done=$?
    fi
    rm -rf "$lock"
    trap - EXIT INT TERM
    return $done
}

# One set-up at a time. The lock is a folder: who makes it has it, and says so in it.
take_lock() {
    lock="$root/.venv.lock"
    waited=0
    until why=$(LC_ALL=C mkdir "$lock" 2>&1); do
        if [ -d "$lock" ]; then
            take_over && return
            [ $waited -eq 0 ] && say "another first call is setting up .venv; waiting"
            waited=$((waited + 1))
            [ $waited -gt 600 ] && say "still locked after 10 minutes; if nobody sets up .venv: rm -r $lock" && exit 125
            sleep 1
        elif ! (LC_ALL=C mkdir "$lock.$$" && rmdir "$lock.$$") 2>/dev/null; then
            say "$root cannot be written (${why##*: }), and .venv is made there; copy the clone to a folder of yours, or install from it: uv tool install $root"
            exit 125
        fi # else the lock was released at this moment
    done
    sign_lock
}

sign_lock() {
    echo "$(uname -n) $$" >"$lock/holder.$$" && mv "$lock/holder.$$" "$lock/holder"
}

# Of a set-up that was killed: whether it is ours now. Making `after-...` is what one alone can do.
take_over() {
    holder=$(cat "$lock/holder" 2>/dev/null) || holder=
    if [ -z "$holder" ]; then
        [ $waited -lt 10 ] && return 1 # it is about to sign, or was killed before
    else
        [ "${holder% *}" = "$(uname -n)" ] || return 1 # elsewhere, whose processes we cannot see
        alive "${holder##* }" && return 1
    fi
    mkdir "$lock/after-${holder##* }" 2>/dev/null || return 1
    if [ "$(cat "$lock/holder" 2>/dev/null)" != "$holder" ]; then # it was released, and somebody new has it
        rmdir "$lock/after-${holder##* }" 2>/dev/null
        return 1
    fi
    say "the set-up of .venv before this one was broken off; starting again"
    sign_lock
    [ -n "$(find "$root/.venv" -maxdepth 1 -name '.ai-cache-*' 2>/dev/null)" ] || rm -rf "$root/.venv"
}

alive() {
    kill -0 "$1" 2>/dev/null || ps -p "$1" >/dev/null 2>&1 # of another user
}

# What to say where there is no Python.
python_is_missing() {
    if [ -n "$uv" ]; then
        say "Python 3.12 or newer (with ssl and sqlite3) is needed, and uv could not get one; see: uv python install 3.13"
    else
        say "Python 3.12 or newer (with ssl and sqlite3) is needed. Easiest is uv, which brings one: pipx install uv (apt install pipx), pip install uv, or curl -LsSf https://astral.sh/uv/install.sh | sh; then call this again. Or install a Python: brew install python@3.13, on Debian 13 and Ubuntu 24.04 apt install python3-venv"
    fi
    exit 125
}

has_pip() {
    [ -n "$uv" ] || "$root/.venv/bin/python" -m pip --version >/dev/null 2>&1
}

make_venv() {
    started=$(date +%s)
    uv=$(find_uv) || uv=
    if [ -n "$uv" ]; then
        cache=${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME-}/.cache}/uv}
        mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || export UV_NO_CACHE=1
    fi
    if ! { [ -x "$root/.venv/bin/python" ] && fits "$root/.venv/bin/python" && has_pip; }; then
        python=$(find_python) || python_is_missing
        say "first call: making .venv with $("$python" --version) (step 1 of 2)"
        rm -rf "$root/.venv"
        { [ -n "$uv" ] && "$uv" venv --quiet --python "$python" "$root/.venv"; } ||
            "$python" -m venv "$root/.venv" >/dev/null 2>&1 || {
            rm -rf "$root/.venv"
            say "$python cannot make a virtual environment; install uv (pipx install uv), or its venv package (apt install python3-venv)"
            exit 125
        }
    fi
    extra=
    [ "$1" = run ] || extra="[$1]"
    if [ -n "$uv" ]; then
        say "installing mitmproxy and what else it takes into .venv, once, with uv: seconds, and the time of the download (step 2 of 2)"
        "$uv" pip install --quiet --python "$root/.venv/bin/python" -c "$root/requirements.lock" -e "$root$extra"
    else
        say "installing mitmproxy and what else it takes into .venv, once, with pip: half a minute to two minutes, up to five on a slow or busy machine; with uv (pipx install uv) it takes seconds (step 2 of 2)"
        "$root/.venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check \
            -c "$root/requirements.lock" -e "$root$extra"
    fi || {
        say "the installation failed, see above; if it was the network, call this again"
        return 125
    }
    say "ready after $(($(date +%s) - started)) s"
}

root=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
