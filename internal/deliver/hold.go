package deliver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// Flags keeps small records across restarts; see store.State.
type Flags interface {
	Get(ctx context.Context, key string) (store.StateRecord, error)
	List(ctx context.Context, prefix string) ([]store.StateRecord, error)
	CompareAndSwap(ctx context.Context, key string, version int64, value []byte) (int64, error)
}

// Flag says why a destination is disabled, since when, and by whom.
type Flag struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"` // "api", "cli", or "grapnel" after answers 410
	Since  time.Time `json:"since"`
}

const (
	flagPrefix = "destination/"
	flagSuffix = "/disabled"
)

func loadFlags(ctx context.Context, flags Flags) (map[string]*Flag, error) {
	records, err := flags.List(ctx, flagPrefix)
	if err != nil {
		return nil, fmt.Errorf("reading disabled flags: %w", err)
	}
	out := map[string]*Flag{}
	for _, r := range records {
		name, ok := strings.CutSuffix(strings.TrimPrefix(r.Key, flagPrefix), flagSuffix)
		if !ok {
			continue
		}
		f := &Flag{}
		if err := json.Unmarshal(r.Value, f); err != nil {
			return nil, fmt.Errorf("reading state %s: %w", r.Key, err)
		}
		out[name] = f
	}
	return out, nil
}

// namesKey is the state under which the names of all destinations are kept that
// were ever configured: one that was removed while the process was down may have
// deliveries in the queue, which must be claimed to be held.
const namesKey = "deliver/destinations"

func loadNames(ctx context.Context, flags Flags) (names []string, err error) {
	r, err := flags.Get(ctx, namesKey)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(r.Value, &names)
	}
	if err != nil {
		return nil, fmt.Errorf("reading state %s: %w", namesKey, err)
	}
	return names, nil
}

// rememberNames stores the names of the lanes if there is one more than before.
func (e *Engine) rememberNames(ctx context.Context) error {
	names := slices.Sorted(maps.Keys(*e.lanes.Load()))
	stored, err := loadNames(ctx, e.config.Flags)
	if err != nil || slices.Equal(names, stored) {
		return err
	}
	return e.save(ctx, namesKey, names)
}

// saveFlag stores the flag, or removes it if f is nil.
func (e *Engine) saveFlag(ctx context.Context, name string, f *Flag) error {
	key := flagPrefix + name + flagSuffix
	if f == nil {
		return e.save(ctx, key, nil)
	}
	return e.save(ctx, key, f)
}

// save stores a record whatever was there, or removes it if v is nil.
func (e *Engine) save(ctx context.Context, key string, v any) error {
	var value []byte
	if v != nil {
		var err error
		if value, err = json.Marshal(v); err != nil {
			return fmt.Errorf("writing state %s: %w", key, err)
		}
	}
	for {
		present, err := e.config.Flags.Get(ctx, key)
		switch {
		case fault.Is(err, fault.NotFound):
			if v == nil {
				return nil
			}
		case err != nil:
			return fmt.Errorf("reading state %s: %w", key, err)
		}
		_, err = e.config.Flags.CompareAndSwap(ctx, key, present.Version, value)
		if fault.Is(err, fault.Conflict) {
			continue // someone decided at the same moment; the last one counts
		}
		if err != nil {
			return fmt.Errorf("writing state %s: %w", key, err)
		}
		return nil
	}
}

// Hold returns why a delivery for the destination must start out held, or "".
func (e *Engine) Hold(name string) string {
	l := (*e.lanes.Load())[name]
	if l == nil {
		return HoldDestinationRemoved
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handle == nil {
		return HoldDestinationRemoved
	}
	if l.off() {
		return HoldDestinationDisabled
	}
	return ""
}

// resolve is Snapshot.Resolve by the configuration and flags of this moment.
func (e *Engine) resolve(d *store.Delivery) (plan Plan, hold string) {
	plan, hold = e.snapshot.Load().Resolve(d)
	if hold == "" {
		hold = e.Hold(d.Destination)
	}
	return plan, hold
}

// Disable stops attempts for a destination until Enable: its deliveries are
// held. It outlives a restart. Returns NotFound if no destination has the name.
func (e *Engine) Disable(ctx context.Context, name, reason, by string) error {
	if e.snapshot.Load().Destinations[name] == nil {
		return unknownDestination(name)
	}
	if err := e.takeTurn(ctx); err != nil {
		return err
	}
	defer e.endTurn()
	f := &Flag{Reason: reason, By: by, Since: time.Now().UTC()}
	if err := e.saveFlag(ctx, name, f); err != nil {
		return err
	}
	if e.flag(name, f) {
		e.tellDisabled(ctx, name, f)
	}
	return nil
}

// Enable lets attempts be made again and makes held deliveries pending. The
// destination gets a fresh start: a closed breaker. Returns NotFound if no
// destination has the name, and Conflict with code disabled_in_configuration if
// only the configuration can enable it.
func (e *Engine) Enable(ctx context.Context, name, by string) error {
	switch d := e.snapshot.Load().Destinations[name]; {
	case d == nil:
		return unknownDestination(name)
	case d.Disabled:
		return fault.New(fault.Conflict, "disabled_in_configuration", "destination %s is disabled in the configuration", name).
			WithHint("remove disabled: true from it there")
	}
	if err := e.takeTurn(ctx); err != nil {
		return err
	}
	defer e.endTurn()
	if err := e.saveFlag(ctx, name, nil); err != nil {
		return err
	}
	if e.flag(name, nil) {
		e.log.InfoContext(ctx, "destination enabled", slog.String("destination", name), slog.String("by", by))
	}
	signal(e.restore)
	signal(e.poke)
	return nil
}

func unknownDestination(name string) error {
	return fault.New(fault.NotFound, "destination_not_found", "destination %q does not exist", name)
}

// flag puts the flag in force and reports whether that changed anything.
func (e *Engine) flag(name string, f *Flag) bool {
	e.mu.Lock()
	changed := (e.flags[name] == nil) != (f == nil)
	if f == nil {
		delete(e.flags, name)
	} else {
		e.flags[name] = f
	}
	l := e.laneLocked(name)
	shift := l.setDisabled(f)
	e.mu.Unlock()
	e.show(l, shift)
	return changed
}

func (l *lane) setDisabled(f *Flag) Condition {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.disabled != nil && f == nil {
		l.resetBreaker()
	}
	l.disabled, l.more = f, true
	l.start(time.Now()) // what waits is held, or attempted, at once
	return l.shifted()
}

// disableGone disables a destination whose receiver says that it is gone. The
// flag holds in this process even if it cannot be stored.
func (e *Engine) disableGone(ctx context.Context, name string) {
	f := &Flag{Reason: "the receiver answered 410 Gone", By: NoticeSource, Since: time.Now().UTC()}
	if !e.flag(name, f) {
		return
	}
	e.tellDisabled(ctx, name, f)
	err := e.takeTurn(ctx)
	if err == nil {
		defer e.endTurn()
		if !e.isFlag(name, f) { // a person has decided since
			return
		}
		err = e.saveFlag(ctx, name, f)
	}
	if err != nil {
		e.log.ErrorContext(ctx, "the disabled flag could not be stored", slog.String("destination", name), slog.Any("error", err))
	}
}

func (e *Engine) isFlag(name string, f *Flag) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.flags[name] == f
}

// tellDisabled publishes the notice.
func (e *Engine) tellDisabled(ctx context.Context, name string, f *Flag) {
	e.log.WarnContext(ctx, "destination disabled", slog.String("destination", name),
		slog.String("reason", f.Reason), slog.String("by", f.By))
	detail := appendMember(nil, "destination", name)
	detail = appendMember(detail, "reason", f.Reason)
	detail = appendMember(detail, "by", f.By)
	key := NoticeDisabled + "/" + name + "/" + strconv.FormatInt(f.Since.UnixNano(), 36)
	e.unsynced.Add(1)
	r := &record{engine: e}
	r.batch.Reserve = true
	r.batch.Events = []*store.Event{notice(e.snapshot.Load(), NoticeDisabled, key, append(detail, '}'), f.Since)}
	e.submit(r)
}

// restorePage is how many held deliveries are made pending in one commit.
const restorePage = 200

// restoreLoop makes held deliveries pending when what they wait for is back.
// It ends with ctx.
func (e *Engine) restoreLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.restore:
		}
		if err := e.restoreHeld(ctx); err != nil && ctx.Err() == nil {
			e.log.WarnContext(ctx, "held deliveries could not be made pending", slog.Any("error", err))
			if !pause(ctx, claimRetry) {
				return
			}
			signal(e.restore)
		}
	}
}

func (e *Engine) restoreHeld(ctx context.Context) error {
	if err := e.rememberNames(ctx); err != nil {
		return err
	}
	groups, err := e.config.Queue.Held(ctx)
	if err != nil {
		return fmt.Errorf("listing held deliveries: %w", err)
	}
	for _, g := range groups {
		if e.Hold(g.Destination) != "" {
			continue
		}
		s := e.snapshot.Load()
		if s.Targets[TargetKey{g.Rule, g.Target}] == nil && g.Reason == HoldTargetRemoved {
			continue
		}
		if err := e.restoreGroup(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) restoreGroup(ctx context.Context, g store.HeldGroup) error {
	query := store.DeliveryQuery{
		Rule: g.Rule, Target: g.Target, Destination: g.Destination, State: store.Held, Limit: restorePage,
	}
	for {
		next, err := e.restoreOnePage(ctx, query)
		if err != nil {
			return fmt.Errorf("restoring held deliveries for %s: %w", g.Destination, err)
		}
		if next.IsZero() {
			return nil
		}
		query.After = next
	}
}

func (e *Engine) restoreOnePage(ctx context.Context, query store.DeliveryQuery) (next store.DeliveryID, err error) {
	if err := e.takeTurn(ctx); err != nil {
		return next, err
	}
	defer e.endTurn()
	page, err := e.config.Records.Deliveries(ctx, query)
	if err != nil {
		return next, err
	}
	now := time.Now()
	var outcomes []*store.Outcome
	for _, known := range page.Deliveries {
		if _, hold := e.resolve(&known.Delivery); hold != "" {
			continue
		}
		outcomes = append(outcomes, &store.Outcome{
			Delivery: known.ID, Time: now, State: store.Pending, NextAt: now,
			Reason: "what it waited for is back", Generation: e.snapshot.Load().Generation,
		})
	}
	if len(outcomes) > 0 {
		err = e.decide(ctx, outcomes...)
	}
	return page.Next, err
}
