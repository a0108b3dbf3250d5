package main

import (
	"context"
	"errors"
	"io"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	// Clients of an emulator keep gRPC's own limit of 4 MiB a response; a message alone may go over ours.
	largestResponse = 2 << 20
	mostMessages    = 500
	// How long an idle stream sleeps before it looks again; the fake has no signal for a new message.
	pollEvery = 5 * time.Millisecond
)

// subscriber is the fake's subscriber service with another streaming pull (the fake's hands over one message each 10 ms),
// responses that clients can receive, and no seek that ends the process.
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

// StreamingPull sends what the subscription has, many messages a response, until the client hangs up.
func (s subscriber) StreamingPull(connection pubsubpb.Subscriber_StreamingPullServer) error {
	opening, err := connection.Recv()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(connection.Context())
	defer cancel(nil)
	subscription, err := s.GetSubscription(ctx, &pubsubpb.GetSubscriptionRequest{Subscription: opening.GetSubscription()})
	if err != nil {
		return err
	}
	stream := &stream{
		subscriber:   s,
		connection:   connection,
		subscription: opening.GetSubscription(),
		deadline:     opening.GetStreamAckDeadlineSeconds(),
		pings:        make(chan struct{}, 1),
		properties: &pubsubpb.StreamingPullResponse_SubscriptionProperties{
			ExactlyOnceDeliveryEnabled: subscription.GetEnableExactlyOnceDelivery(),
			MessageOrderingEnabled:     subscription.GetEnableMessageOrdering(),
		},
		most:    mostMessages,
		answers: opening.GetProtocolVersion() >= 1,
	}
	if limit := opening.GetMaxOutstandingMessages(); limit > 0 && limit < mostMessages {
		stream.most = int32(limit)
	}
	go func() { cancel(stream.listen(ctx)) }()
	err = stream.talk(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause // what ended the stream, rather than how sending noticed
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// stream is one client's streaming pull.
type stream struct {
	subscriber
	connection   pubsubpb.Subscriber_StreamingPullServer
	subscription string
	deadline     int32 // seconds until what was sent and not acknowledged is sent again; 0 is the subscription's own
	most         int32 // messages a response
	pings        chan struct{}
	answers      bool // whether the client wants its pings answered
	properties   *pubsubpb.StreamingPullResponse_SubscriptionProperties
}

// listen does what the client asks for until it hangs up, and gives the reason why it ended.
func (s *stream) listen(ctx context.Context) error {
	for {
		request, err := s.connection.Recv()
		if err != nil {
			return err
		}
		if len(request.AckIds) == 0 && len(request.ModifyDeadlineAckIds) == 0 {
			select {
			case s.pings <- struct{}{}:
			default: // one waits for its answer already
			}
			continue
		}
		acknowledged := &pubsubpb.AcknowledgeRequest{Subscription: s.subscription, AckIds: request.AckIds}
		if _, err := s.Acknowledge(ctx, acknowledged); err != nil {
			return err
		}
		if len(request.ModifyDeadlineSeconds) != len(request.ModifyDeadlineAckIds) {
			return status.Error(codes.InvalidArgument, "each of modify_deadline_ack_ids needs its modify_deadline_seconds")
		}
		for i, id := range request.ModifyDeadlineAckIds {
			if err := s.extend(ctx, request.ModifyDeadlineSeconds[i], id); err != nil {
				return err
			}
		}
	}
}

// talk sends messages and answers pings until the context ends.
func (s *stream) talk(ctx context.Context) error {
	idle := time.NewTicker(pollEvery)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.pings:
			if s.answers {
				if err := s.connection.Send(&pubsubpb.StreamingPullResponse{}); err != nil {
					return err
				}
			}
		case <-idle.C:
			if err := s.deliver(ctx); err != nil {
				return err
			}
		}
	}
}

// deliver sends one round of what the subscription has.
func (s *stream) deliver(ctx context.Context) error {
	request := &pubsubpb.PullRequest{Subscription: s.subscription, MaxMessages: s.most, ReturnImmediately: true}
	response, err := s.GServer.Pull(ctx, request)
	if err != nil {
		return err
	}
	rest := response.ReceivedMessages
	if s.deadline > 0 && len(rest) > 0 {
		if err := s.extend(ctx, s.deadline, ackIDs(rest)...); err != nil {
			return err
		}
	}
	for len(rest) > 0 {
		var fitting []*pubsubpb.ReceivedMessage
		fitting, rest = split(rest)
		message := &pubsubpb.StreamingPullResponse{ReceivedMessages: fitting, SubscriptionProperties: s.properties}
		if err := s.connection.Send(message); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) extend(ctx context.Context, seconds int32, ids ...string) error {
	request := &pubsubpb.ModifyAckDeadlineRequest{Subscription: s.subscription, AckIds: ids, AckDeadlineSeconds: seconds}
	_, err := s.ModifyAckDeadline(ctx, request)
	return err
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
