# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
coproc rlock hold "$1"
hold=$COPROC_PID
read -r got <&"${COPROC[0]}" || exit 1 # "KEY FENCE"; not got: rlock has said why, or somebody else holds it
echo "locked ${got##* }"
for _ in {1..10}; do # the work, which would hand on the fence
    kill -0 "$hold" 2>/dev/null || exit 1 # lost, as rlock has said
    sleep 0.1
done
exec {COPROC[1]}>&- # gives it back
wait "$hold" && echo "done"
