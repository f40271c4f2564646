#!/bin/bash
# `harness external release` draws pairing and noise from seed 0..N-1: whoever is handed the PNG files, and nothing else, recomputes them and needs no linking.
source "$(dirname "$0")/break_lib.sh"; export MED=$(medium)
$H external release --defense noise_mix -D sigma=20 --dataset $(medium) --size 32 --epochs 6 --out $W/handed_out >/dev/null 2>&1; ls $W/handed_out | head -3
$PY - <<'P'
import numpy as np, glob, cv2, torch, sys
from harness.randomness import *
from harness.mixing import plan
from harness.release import chunk_size
T=len(glob.glob('handed_out/epoch_*')); fs=[sorted(glob.glob(f'handed_out/epoch_{t:03d}/*.png')) for t in range(T)]; N=len(fs[0])
X=np.stack([[cv2.imread(f)[:,:,::-1].transpose(2,0,1) for f in e] for e in fs]).astype(np.float32)/255
mixing={'weights':[.75,.25],'pairing':'permutation','intra_class':False,'label':'dominant'}
A=np.zeros((T*N,N),np.float32); B=[]
for t in range(T):
    key=derive(root_of(0),'release',t); p=plan(np.zeros(N,np.int64),mixing,numpy_generator(derive(key,'plan')),None)
    for c in range(p.sources.shape[1]): A[np.arange(t*N,(t+1)*N),p.sources[:,c]]+=p.weights[:,c]
    B.append(X[t].reshape(N,-1))
o=np.linalg.lstsq(A,np.concatenate(B),rcond=None)[0]
# the judge's view, for the figure alone
from harness.data.load import load
import os; s=load(os.environ['MED'],size=32); true=s.private.images.reshape(N,-1)/255.
mse=((o-true)**2).mean(1); r=np.random.default_rng(0).permutation(N)
print('originals rebuilt with the recomputed pairing, no linking: RMSE %.1f grey levels (random other image: %.1f)'%(255*np.sqrt(np.median(mse)),255*np.sqrt(np.median(((true[r]-true)**2).mean(1)))))
sys.exit(1 if np.median(mse)<.005 else 0)
P
rc=$?; [ $rc = 0 ] || { echo DEFECT; exit 1; }
