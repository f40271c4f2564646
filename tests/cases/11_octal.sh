#!/bin/bash
# -D sigma=010 is sigma 8 and -D sigma=1:30 is 90 (YAML 1.1), without a word; 08 is refused as text.
source "$(dirname "$0")/lib.sh"
"$PYTHON" - <<'P'
import sys
from harness.registry.settings import parse_settings
got = parse_settings(["sigma=010", "kernel=1:30"]); print(got)
sys.exit(got["sigma"] == 8 or got["kernel"] == 90)
P
[ $? = 0 ] && ok "no base 8 or 60" || fail "numbers in base 8 and 60"
