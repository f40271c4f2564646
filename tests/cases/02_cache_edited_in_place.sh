#!/bin/bash
# A picture replaced in place by one of equal length, its time kept (rsync -t, cp -p, touch -r), stays the old one.
source "$(dirname "$0")/lib.sh"; cd "$W"
mkset A ext=bmp seed=1; mkset N ext=bmp seed=2
"$PYTHON" -c 'from harness.data.load import load; print(load("A").fingerprint)' > one
for f in A/*/*.bmp; do touch -r "$f" t; cp "N/${f#A/}" "$f"; touch -r t "$f"; done
"$PYTHON" -c 'from harness.data.load import load; print(load("A").fingerprint)' > two
cmp -s one two && fail "every picture changed, the fingerprint $(cat one) did not" || ok "the change is seen"
