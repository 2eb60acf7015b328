package jeton

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	grpccredentials "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

const longestAnswer = 16 << 20

// windows of HTTP/2, for an answer and for all of a connection. With fixed ones gRPC sends no PING for each answer to
// measure how wide they should be.
const (
	streamWindow     = 1 << 20
	connectionWindow = 16 << 20
)

// group is the endpoints of one listener. One of them is the current one.
type group struct {
	endpoints []endpoint
	current   atomic.Int32
}

func (g *group) at(step int) int { return (int(g.current.Load()) + step) % len(g.endpoints) }

// lane is a channel to one endpoint. When its credentials have changed, it is closed after its last call.
type lane struct {
	conn    grpc.ClientConnInterface
	channel *grpc.ClientConn // nil: the test double
	version int
	calls   int
	isOld   bool
}

// connections holds a lane for each endpoint, made at its first use.
type connections struct {
	credentials *watchedFiles
	double      grpc.ClientConnInterface

	lock   sync.Mutex
	lanes  map[endpoint]*lane
	closed bool
}

func (c *connections) take(at endpoint) (*lane, Secret, error) {
	found := c.credentials.latest()
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.closed {
		return nil, Secret{}, newClosed("client")
	}
	have := c.lanes[at]
	if have == nil || (at.tls && have.version != found.version) {
		made, err := c.open(at, found)
		if err != nil {
			return nil, Secret{}, err
		}
		if have != nil {
			have.isOld = true
			have.closeIfIdle()
		}
		have = made
		c.lanes[at] = have
	}
	have.calls++
	return have, found.authorization, nil
}

func (c *connections) giveBack(one *lane) {
	c.lock.Lock()
	defer c.lock.Unlock()
	one.calls--
	one.closeIfIdle()
}

func (l *lane) closeIfIdle() {
	if l.isOld && l.calls == 0 && l.channel != nil {
		_ = l.channel.Close()
	}
}

func (c *connections) open(at endpoint, with *loaded) (*lane, error) {
	if c.double != nil {
		return &lane{conn: c.double, version: with.version}, nil
	}
	transport := insecure.NewCredentials()
	if at.tls {
		transport = grpccredentials.NewTLS(with.tls.Clone())
	}
	// Names are looked up by the dialer, at each connection: a server that moved is found again.
	channel, err := grpc.NewClient("passthrough:///"+at.target(),
		grpc.WithTransportCredentials(transport),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(longestAnswer)),
	)
	if err != nil {
		return nil, fromStatus(err, at)
	}
	return &lane{conn: channel, channel: channel, version: with.version}, nil
}

// connect waits for a connection, and tells whether there is one.
func (l *lane) connect(ctx context.Context) bool {
	if l.channel == nil {
		return true
	}
	for {
		l.channel.Connect()
		switch state := l.channel.GetState(); state {
		case connectivity.Ready:
			return true
		case connectivity.TransientFailure, connectivity.Shutdown:
			return false
		default:
			if !l.channel.WaitForStateChange(ctx, state) {
				return false
			}
		}
	}
}

func (l *lane) isConnected() bool {
	return l.channel == nil || l.channel.GetState() == connectivity.Ready
}

func (c *connections) isClosed() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.closed
}

func (c *connections) close() {
	c.lock.Lock()
	lanes := c.lanes
	c.closed, c.lanes = true, nil
	c.lock.Unlock()
	for _, one := range lanes {
		if one.channel != nil {
			_ = one.channel.Close()
		}
	}
}
