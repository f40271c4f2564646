#!/bin/bash
# Workers are counted by /proc/meminfo and the affinity mask: a container's memory limit and CPU quota (cgroup) are not
# looked at. Needs root for `unshare`; the limit is a file such as cgroup v2 shows inside a container.
source "$(dirname "$0")/lib.sh"; mkdir "$W/cg"; echo $((2 << 30)) > "$W/cg/memory.max"; echo "100000 100000" > "$W/cg/cpu.max"; echo 0 > "$W/cg/memory.current"
n=$(unshare -m bash -c "mount --bind '$W/cg' /sys/fs/cgroup && exec '$PYTHON' -c 'from harness.run.process_pool import how_many; print(how_many(\"cpu\", 1, 10))'")
echo "limit 2 GiB and 1 CPU: $n workers of 3 GiB each"
[ "$n" = 1 ] && ok "one worker" || fail "$n workers where one does not fit"
