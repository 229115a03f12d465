// SPDX-License-Identifier: MIT
// SPDX-FileCopyrightText: The rlockd authors
package main

import (
	"encoding/json"
	"log"
	"net"
	"os"
	"time"
)

func main() {
	connection, err := net.Dial("unix", os.Getenv("RLOCK_SOCKET"))
	if err != nil {
		log.Fatal(err)
	}
	in, out, params := json.NewDecoder(connection), json.NewEncoder(connection), map[string]any{"key": os.Args[1]}
	call := func(id int, method string) {
		out.Encode(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	}
	for call(1, "lock"); ; { // the end of the connection is the end of its locks
		message := map[string]any{}
		if err := in.Decode(&message); err != nil || message["method"] == "lost" || message["error"] != nil {
			log.Fatal("lost, or not got: ", err, message)
		}
		switch message["id"] {
		case 1.0:
			log.Printf("locked %.0f", message["result"].(map[string]any)["fence"])
			time.AfterFunc(time.Second, func() { call(2, "unlock") }) // the work, which would hand on the fence
		case 2.0:
			log.Print("done")
			return
		}
	}
}
