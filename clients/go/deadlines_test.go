package jeton

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestDeadlinesPassInTheirOrder(t *testing.T) {
	all := deadlines{after: 5 * time.Millisecond}
	var begun []context.Context
	for range 3 {
		ctx, stop := all.begin(context.Background())
		defer stop()
		begun = append(begun, ctx)
	}
	kept, stop := all.begin(context.Background())
	stop()
	for _, ctx := range begun {
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		<-child.Done()
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(child), context.DeadlineExceeded) {
			t.Fatalf("it is %v, %v", ctx.Err(), context.Cause(child))
		}
		if _, ok := ctx.Deadline(); !ok {
			t.Fatal("it tells no deadline")
		}
	}
	if !errors.Is(kept.Err(), context.Canceled) {
		t.Fatalf("it is %v", kept.Err())
	}
}

func TestADeadlineEndsWithItsParent(t *testing.T) {
	all := deadlines{after: time.Hour}
	parent, cancel := context.WithCancel(context.Background())
	ctx, stop := all.begin(parent)
	defer stop()
	cancel()
	<-ctx.Done()
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Fatalf("it is %v", ctx.Err())
	}
	earlier, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctx, stop = all.begin(earlier)
	defer stop()
	at, _ := ctx.Deadline()
	if want, _ := earlier.Deadline(); at != want {
		t.Fatalf("it is %v", at)
	}
}

func TestNoTimerIsLeftOfClosedDeadlines(t *testing.T) {
	all := deadlines{after: time.Hour}
	_, stop := all.begin(context.Background())
	all.close()
	if all.timer == nil {
		t.Fatal("what runs has no deadline any more")
	}
	stop()
	if all.timer != nil || all.first != nil {
		t.Fatal("a timer is left")
	}
	ctx, stop := all.begin(context.Background())
	defer stop()
	if _, ok := ctx.Deadline(); !ok || ctx.Err() != nil || all.timer != nil {
		t.Fatal("what begins later has no deadline, or a timer that is left")
	}
}
