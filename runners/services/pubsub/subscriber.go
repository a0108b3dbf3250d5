package main

import (
	"context"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Clients of an emulator keep gRPC's own limit of 4 MiB a response; a message alone may go over ours.
const largestResponse = 2 << 20

// subscriber is the fake's subscriber service with responses that clients can receive, and no seek that ends the process.
// Its streaming pull is the fake's, which hands over one message each 10 ms: the pipeline pulls by request.
type subscriber struct {
	*pstest.GServer
}

// Seek refuses times that have passed: the fake would deliver the messages of then without their content, and crash.
func (s subscriber) Seek(ctx context.Context, request *pubsubpb.SeekRequest) (*pubsubpb.SeekResponse, error) {
	if target := request.GetTime(); target != nil && target.AsTime().Before(time.Now()) {
		return nil, status.Error(codes.Unimplemented, "this server does not keep messages that were acknowledged: no seek to the past")
	}
	return s.GServer.Seek(ctx, request)
}

// Pull gives what fits in a response; the rest goes back to the subscription.
func (s subscriber) Pull(ctx context.Context, request *pubsubpb.PullRequest) (*pubsubpb.PullResponse, error) {
	response, err := s.GServer.Pull(ctx, request)
	if err != nil {
		return nil, err
	}
	fitting, rest := split(response.ReceivedMessages)
	if len(rest) > 0 {
		back := &pubsubpb.ModifyAckDeadlineRequest{Subscription: request.Subscription, AckIds: ackIDs(rest)}
		if _, err := s.ModifyAckDeadline(ctx, back); err != nil {
			return nil, err
		}
	}
	return &pubsubpb.PullResponse{ReceivedMessages: fitting}, nil
}

// split cuts messages where a response is full; the first one always fits.
func split(messages []*pubsubpb.ReceivedMessage) (fitting, rest []*pubsubpb.ReceivedMessage) {
	size := 0
	for i, message := range messages {
		size += proto.Size(message)
		if i > 0 && size > largestResponse {
			return messages[:i], messages[i:]
		}
	}
	return messages, nil
}

func ackIDs(messages []*pubsubpb.ReceivedMessage) []string {
	ids := make([]string, len(messages))
	for i, message := range messages {
		ids[i] = message.GetAckId()
	}
	return ids
}
