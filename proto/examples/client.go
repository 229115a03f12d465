// SPDX-License-Identifier: MIT
// SPDX-FileCopyrightText: The rlockd authors
package main

import "encoding/json"
import "log"
import "net"
import "os"
import "path/filepath"
import "time"

func main() {
	paths := append(filepath.SplitList(os.Getenv("RLOCK_SOCKET")), "/run/rlockd/rlockd.sock")
	connection, err := net.Dial("unix", paths[0])
	if err != nil {
		log.Fatal(err)
	}
	in, out, params := json.NewDecoder(connection), json.NewEncoder(connection), map[string]any{"key": os.Args[1]}
	call := func(id int, method string) {
		out.Encode(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	}
	message := map[string]any{}
	for call(1, "lock"); message["id"] != 2.0; { // the end of the connection is the end of its locks
		message = map[string]any{}
		if err := in.Decode(&message); err != nil || message["method"] == "lost" || message["error"] != nil {
			log.Fatal("lost, or not got: ", err, message)
		}
		if message["id"] == 1.0 {
			log.Printf("locked %.0f", message["result"].(map[string]any)["fence"])
			time.AfterFunc(time.Second, func() { call(2, "unlock") }) // the work, which would hand on the fence
		}
	}
	log.Print("done")
}
