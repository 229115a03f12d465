# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
import json, os, queue, socket, sys, threading

connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ.get("RLOCK_SOCKET", "/run/rlockd/rlockd.sock"))
replies, lost = queue.Queue(), threading.Event()

def listen():  # all the time, because the daemon also speaks unasked
    for line in connection.makefile(encoding="utf-8", newline="\n"):
        message = json.loads(line)
        if message.get("method") == "lost":
            lost.set()
        elif "id" in message:
            replies.put(message)
    lost.set()  # the end of the connection is the end of its locks
    replies.put({"error": "the daemon has ended the connection"})

def call(id, method, **params):
    request = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    connection.sendall(json.dumps(request).encode() + b"\n")
    reply = replies.get()
    return reply["result"] if "result" in reply else sys.exit(f"no {method}: {reply['error']}")

threading.Thread(target=listen, daemon=True).start()
print("locked", call(1, "lock", key=sys.argv[1])["fence"], flush=True)
for step in range(10):  # the work, which would hand on the fence
    if lost.wait(0.1):
        sys.exit("lost")
call(2, "unlock", key=sys.argv[1])
print("done")
