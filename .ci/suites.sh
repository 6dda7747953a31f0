# shellcheck shell=bash
# Sourced by test, lint and run: what a suite's outcome is and where it is kept. One line per suite, tab-separated:
# name, passed, failed, skipped. A suite that never ran is a line as well, or nobody would miss it.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
counts=${LASTLIGHT_COUNTS:-$root/build/counts-$$}
mkdir -p "$(dirname "$counts")"

say() { printf '\n==> %s\n' "$*"; }

# suite NAME PASSED FAILED [SKIPPED]
suite() { printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:-0}" >>"$counts"; }

# cannot NAME WHY: the suite cannot run here. A failure when LASTLIGHT_NO_SKIP=1.
cannot() {
    if [ "${LASTLIGHT_NO_SKIP:-}" = 1 ]; then
        echo "FAILED $1: LASTLIGHT_NO_SKIP=1, but $2"
        suite "$1" 0 1
    else
        echo "SKIPPED $1: $2"
        suite "$1" 0 0 1
    fi
}

# from_junit NAME FILE EXIT_CODE: counts what the runner wrote; a runner that failed without saying which test is one failure.
from_junit() {
    local passed failed skipped
    read -r passed failed skipped < <(python3 "$root/.ci/junit-counts" "$2" 2>/dev/null) || { passed=0 failed=1 skipped=0; }
    [ "$3" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
    suite "$1" "$passed" "$failed" "$skipped"
}

# summary FILE: a line per suite and, last, "N passed, N failed"; its exit code says whether anything failed.
summary() {
    echo
    awk -F '\t' '{ printf "%-28s %5d passed, %d failed%s\n", $1, $2, $3, $4 ? ", " $4 " skipped" : ""; passed += $2; failed += $3 }
        END { printf "%d passed, %d failed\n", passed, failed; exit failed > 0 || NR == 0 }' "$1"
}

# finish: the end of a door. Under `run`, which counts for all, it only gives the exit code.
finish() {
    local status
    if [ -n "${LASTLIGHT_COUNTS:-}" ]; then
        summary "$counts" >/dev/null
        exit $?
    fi
    summary "$counts"
    status=$?
    rm -f "$counts"
    exit $status
}
