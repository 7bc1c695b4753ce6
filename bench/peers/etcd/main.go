// A client of one member of etcd: as many puts under way as asked for, over at most ten connections.
// etcd -endpoint HOST:PORT
package main

import (
	"context"
	"flag"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"raftx/bench/peers/loop"
)

const keys = 1000

type client struct {
	endpoint    string
	connections []*clientv3.Client
}

// Leads asks the member that it is connected to.
func (c *client) Leads() bool {
	soon, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	status, err := c.connections[0].Status(soon, c.endpoint)
	return err == nil && status.Leader == status.Header.MemberId
}

func (c *client) Propose(worker int, data []byte) error {
	soon, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := c.connections[worker%len(c.connections)].Put(soon, "k"+strconv.Itoa(worker%keys), string(data))
	return err
}

func main() {
	endpoint := flag.String("endpoint", "", "address of a member for clients")
	flag.Parse()
	it := &client{endpoint: *endpoint}
	for i := 0; i < 10; i++ {
		one, err := clientv3.New(clientv3.Config{Endpoints: []string{*endpoint}, DialTimeout: 10 * time.Second})
		if err != nil {
			panic(err)
		}
		it.connections = append(it.connections, one)
	}
	loop.Serve(it)
}
