package jeton

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"

	jetonv1 "go.jeton.dev/jeton/gen/jeton/v1"
)

const (
	firstStreamPause   = 100 * time.Millisecond
	longestStreamPause = 5 * time.Second
	openStreamTime     = 5 * time.Second
)

var errFull = errors.New("as many calls wait for a verdict as may")

// pipeline shares one StreamValidate between all calls of a guard. Answers come in the order of the requests.
type pipeline struct {
	client     *Client
	maxWaiting int
	deadline   time.Duration
	ctx        context.Context
	cancel     context.CancelFunc
	work       sync.WaitGroup

	lock      sync.Mutex
	stream    *verdictStream
	elsewhere int // calls that ask by Validate count as waiting, too
	failures  int
	notBefore time.Time
	closed    bool
}

func newPipeline(client *Client, maxWaiting int, deadline time.Duration) *pipeline {
	made := &pipeline{client: client, maxWaiting: maxWaiting, deadline: deadline}
	made.ctx, made.cancel = context.WithCancel(context.Background())
	return made
}

// outcome is a verdict, or that the stream broke.
type outcome struct {
	verdict *jetonv1.Verdict
	broken  bool
}

// verdictStream is one stream. The lock of its pipeline holds for its queues.
type verdictStream struct {
	unsent  []*jetonv1.ValidateRequest
	waiting []chan outcome // in the order of the requests
	more    chan struct{}
	heard   time.Time // when it began, or last answered
	cancel  context.CancelFunc
}

func (p *pipeline) ask(ctx context.Context, request *jetonv1.ValidateRequest) (*jetonv1.Verdict, error) {
	stream, answer, err := p.enqueue(request)
	if err != nil {
		return nil, err
	}
	if stream != nil {
		select {
		case found := <-answer:
			if !found.broken {
				return found.verdict, nil
			}
		case <-ctx.Done():
			p.giveUp(stream)
			return nil, ctx.Err()
		}
		if err := p.countElsewhere(); err != nil {
			return nil, err
		}
	}
	defer func() {
		p.lock.Lock()
		p.elsewhere--
		p.lock.Unlock()
	}()
	found, err := p.client.TokenService().Validate(ctx, request)
	return found.GetVerdict(), err
}

// enqueue puts a request on the stream. Without a stream the call counts as one that asks by Validate.
func (p *pipeline) enqueue(request *jetonv1.ValidateRequest) (*verdictStream, chan outcome, error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.closed {
		return nil, nil, newClosed("guard")
	}
	waiting := p.elsewhere
	if p.stream != nil {
		waiting += len(p.stream.waiting)
	}
	if waiting >= p.maxWaiting {
		return nil, nil, errFull
	}
	if p.stream == nil {
		if time.Now().Before(p.notBefore) {
			p.elsewhere++
			return nil, nil, nil
		}
		ctx, cancel := context.WithCancel(p.ctx)
		p.stream = &verdictStream{more: make(chan struct{}, 1), heard: time.Now(), cancel: cancel}
		p.work.Add(1)
		go p.run(ctx, p.stream, p.failures)
	}
	stream := p.stream
	if len(stream.waiting) == 0 {
		stream.heard = time.Now()
	}
	answer := make(chan outcome, 1)
	stream.waiting = append(stream.waiting, answer)
	stream.unsent = append(stream.unsent, request)
	select {
	case stream.more <- struct{}{}:
	default:
	}
	return stream, answer, nil
}

func (p *pipeline) countElsewhere() error {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.elsewhere >= p.maxWaiting {
		return errFull
	}
	p.elsewhere++
	return nil
}

// giveUp is for a call whose deadline passed. Its place in the order is kept, unless the stream says nothing at all.
func (p *pipeline) giveUp(stream *verdictStream) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if len(stream.waiting) > 0 && time.Since(stream.heard) >= p.deadline {
		stream.cancel()
	}
}

// run opens a stream, and reads it to its end.
func (p *pipeline) run(ctx context.Context, stream *verdictStream, skip int) {
	defer p.work.Done()
	defer stream.cancel()
	route := route{client: p.client, group: p.client.public, skip: skip}
	// A server that takes connections and never answers is given up.
	opening := time.AfterFunc(openStreamTime, stream.cancel)
	calls, err := jetonv1.NewTokenServiceClient(route).StreamValidate(ctx)
	opening.Stop()
	if err != nil {
		p.end(stream, err, false)
		return
	}
	p.work.Add(1)
	go p.send(ctx, stream, calls)
	answered := false
	for {
		answer, err := calls.Recv()
		if err != nil {
			p.end(stream, err, answered)
			return
		}
		answered = true
		p.lock.Lock()
		if len(stream.waiting) == 0 {
			p.lock.Unlock()
			p.end(stream, errors.New("there are more verdicts than requests"), answered)
			return
		}
		first := stream.waiting[0]
		stream.waiting = stream.waiting[1:]
		stream.heard = time.Now()
		p.lock.Unlock()
		first <- outcome{verdict: answer.GetVerdict()}
	}
}

func (p *pipeline) send(
	ctx context.Context, stream *verdictStream,
	calls grpc.BidiStreamingClient[jetonv1.StreamValidateRequest, jetonv1.StreamValidateResponse],
) {
	defer p.work.Done()
	for {
		p.lock.Lock()
		batch := stream.unsent
		stream.unsent = nil
		p.lock.Unlock()
		for _, request := range batch {
			// The reader hears why.
			if calls.Send(&jetonv1.StreamValidateRequest{Request: request}) != nil {
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-stream.more:
		case <-ctx.Done():
			return
		}
	}
}

// end tells all that wait that they ask elsewhere, and plans the next stream.
func (p *pipeline) end(stream *verdictStream, err error, answered bool) {
	p.lock.Lock()
	waiting := stream.waiting
	stream.waiting, stream.unsent = nil, nil
	p.stream = nil
	if answered {
		p.failures = 0
	}
	limit := min(longestStreamPause, firstStreamPause<<min(p.failures, 10))
	p.failures++
	p.notBefore = time.Now().Add(jitter(limit))
	closed := p.closed
	p.lock.Unlock()
	stream.cancel()
	if !closed {
		p.client.log.Debug("the stream of verdicts ended", "error", err.Error())
	}
	for _, one := range waiting {
		one <- outcome{broken: true}
	}
}

func (p *pipeline) close() {
	p.lock.Lock()
	p.closed = true
	p.lock.Unlock()
	p.cancel()
	p.work.Wait()
}
