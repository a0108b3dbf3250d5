// Command pubsub-server is a Cloud Pub/Sub for one machine: the fake of Google's Go client, which is made for Go tests of one
// process, behind a port of its own and with responses that clients can receive. It keeps everything in memory.
package main

import (
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc"
)

// Google's limit is 10 MB a request. Messages of the tests may be larger.
const largestRequest = 32 << 20

func main() {
	address := flag.String("listen", "127.0.0.1:8085", "HOST:PORT to listen on")
	flag.Parse()
	if err := serve(*address); err != nil {
		log.Fatal(err)
	}
}

// serve answers on the address until the process is told to end.
func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fake := pstest.NewServer()
	// The fake listens as well, on a port that nobody asked for. Its services do not need that.
	if err := fake.Close(); err != nil {
		return err
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(largestRequest), grpc.MaxSendMsgSize(largestRequest))
	pubsubpb.RegisterPublisherServer(server, &fake.GServer)
	pubsubpb.RegisterSchemaServiceServer(server, &fake.GServer)
	pubsubpb.RegisterSubscriberServer(server, subscriber{&fake.GServer})

	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ended
		server.Stop() // not GracefulStop: a streaming pull has no end
	}()
	log.Printf("listening on %s", listener.Addr())
	return server.Serve(listener)
}
