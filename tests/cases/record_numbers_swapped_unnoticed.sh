#!/bin/bash
source "$(dirname "$0")/break_lib.sh"

# all numbers of a record replaced by .99: nothing ties the .npz and scores to the record's name; `run` prints them as done
cp -r $(records) rec; $PY - <<'P'
import numpy as n,glob,json
for j in glob.glob('rec/*.json'):
    d=json.load(open(j))
    if d['kind']=='release' and d['inputs']['defense']['name']=='mix':
        f=j[:-5]+'.npz'; z=dict(n.load(f)); z={k:(n.full_like(v,.99) if v.dtype.kind=='f' else v) for k,v in z.items()}; n.savez(f,**z)
P
$H run --defense mix --attack look --dataset $T --no-utility --epochs 1 --records rec --workers 1 2>&1 | grep -m1 '\.990' && { echo DEFECT; exit 1; } || exit 0
