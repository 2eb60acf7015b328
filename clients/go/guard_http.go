package jeton

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Handler puts the guard before an HTTP handler, which finds the verdict by VerdictFromContext. Scopes are needed beside
// those of the guard. An answer that takes longer than Recheck is judged again, and broken off if it does not pass.
func (g *Guard) Handler(next http.Handler, scopes ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if g.isExcepted(request.URL.Path) {
			next.ServeHTTP(w, request)
			return
		}
		token, thumbprint := bearer(request.Header.Values("Authorization")), Thumbprint(request.TLS)
		found, err := g.Judge(request.Context(), token, thumbprint, scopes...)
		var refused *Refused
		if errors.As(err, &refused) {
			refused.WriteHTTP(w)
			return
		}
		ctx, cancel := context.WithCancelCause(context.WithValue(request.Context(), verdictKey{}, found))
		defer cancel(nil)
		stop := g.watchAnswer(ctx, cancel, w, found, token, thumbprint, scopes)
		defer stop()
		next.ServeHTTP(w, request.WithContext(ctx))
	})
}

// watchAnswer judges again what takes long. It begins a goroutine only then. When stop returns, that is over.
func (g *Guard) watchAnswer(
	ctx context.Context, cancel context.CancelCauseFunc, w http.ResponseWriter,
	found *Verdict, token Secret, thumbprint string, scopes []string,
) (stop func()) {
	plan := g.newWatch(found)
	if plan.never {
		return func() {}
	}
	over := make(chan struct{})
	keep := g.client.clock.AfterFunc(plan.at, func() {
		defer close(over)
		refused := g.watchOver(ctx, plan, token, thumbprint, scopes)
		if refused == nil {
			return
		}
		cancel(refused)
		// The status is sent already, perhaps: what is left is to break the connection.
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now())
		_ = control.SetWriteDeadline(time.Now())
	})
	return func() {
		if !keep() {
			cancel(nil)
			<-over
		}
	}
}
