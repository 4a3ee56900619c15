package upload

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tus/tusd/v2/pkg/handler"
	xslog "golang.org/x/exp/slog"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// Auditor keeps the record of what happened: *audit.Log.
type Auditor interface {
	Append(ctx context.Context, c audit.Category, e audit.Event) error
}

// Denials keeps the record of who was refused what.
type Denials interface {
	Denied(ctx context.Context, e audit.Event)
}

// Counter counts completed uploads over all processes, as well as it can.
type Counter interface {
	CountUpload(ctx context.Context)
}

// Room bounds the uploads that are open, over all processes.
type Room interface {
	// Take counts an upload of so many bytes that is about to be created. An Unavailable or NoSpace error refuses it.
	Take(ctx context.Context, size int64) error
	// Free takes back what Take has counted, when the upload has become a video or is gone.
	Free(ctx context.Context, size int64)
}

// Config is what the HTTP side of uploads is made from.
type Config struct {
	Store      Store
	Locker     handler.Locker // keeps two writers out of one upload, over all processes
	Audit      Auditor
	Counter    Counter
	Room       Room
	Metrics    *Metrics
	MaxSize    int64  // bytes an upload may have at most
	PublicPath string // goes in front of Location
	Policy     auth.Policy
	Denials    Denials // nil records none
	// Silence is for how long a client may send nothing of its piece before it is let go; 0 means a minute. What has come counts.
	Silence time.Duration
	Now     func() time.Time
	Log     *slog.Logger
}

// Metrics counts completed uploads of this process.
type Metrics struct {
	uploads prometheus.Counter
	size    prometheus.Histogram
}

// NewMetrics registers the metrics of uploads.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		uploads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pulsevault_uploads_total", Help: "Uploads whose last byte has arrived.",
		}),
		size: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pulsevault_upload_size_bytes", Help: "Sizes of completed uploads.",
			Buckets: prometheus.ExponentialBuckets(1<<20, 4, 8), // 1 MiB to 16 GiB
		}),
	}
	reg.MustRegister(m.uploads, m.size)
	return m
}

// Handler answers POST /uploads, HEAD PATCH DELETE /uploads/{id} and GET /uploads/status/{id}.
type Handler struct {
	Config
	tus http.Handler
}

// NewHandler makes a Handler. The path value "id" of its requests is the upload.
func NewHandler(c Config) (*Handler, error) {
	h := &Handler{Config: c}
	composer := handler.NewStoreComposer()
	store := dataStore{c.Store, c.Room, c.Now, h.terminated}
	composer.UseCore(store)
	composer.UseTerminater(store)
	composer.UseLocker(patientLocker{c.Locker})
	tus, err := handler.NewHandler(handler.Config{
		StoreComposer: composer, BasePath: "/uploads/", MaxSize: c.MaxSize,
		DisableDownload: true, DisableConcatenation: true,
		Cors:                      &handler.CorsConfig{Disable: true},
		Logger:                    xslog.New(logBridge{c.Log.Handler()}),
		PreFinishResponseCallback: h.completed,
		AcquireLockTimeout:        15 * time.Second,
		NetworkTimeout:            cmp.Or(c.Silence, time.Minute),
	})
	if err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	h.tus = http.StripPrefix("/uploads", tus)
	return h, nil
}

// completed is the hook on an upload's last piece: its bytes and its record are on disk, and its lock is held. It does
// not fail the request: the upload is there whatever the log says, and finalize insists on the entry.
func (h *Handler) completed(e handler.HookEvent) (handler.HTTPResponse, error) {
	x := exchangeOf(e.Context)
	u, err := h.Store.Get(e.Context, vault.UploadID(e.Upload.ID))
	if err == nil {
		err = h.Announce(e.Context, &u, x.client, x.requestID)
	}
	if err == nil {
		err = h.Store.Save(e.Context, &u)
	}
	if err != nil {
		h.Log.ErrorContext(e.Context, "completed upload not announced; finalize will", "uploadId", e.Upload.ID, "error", err)
	}
	return handler.HTTPResponse{}, nil
}

// Announce counts an upload that is complete, and tells the audit log, unless that was done before. The caller holds the
// upload's lock and saves the record.
func (h *Handler) Announce(ctx context.Context, u *vault.Upload, address, requestID string) error {
	if u.Announced {
		return nil
	}
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte("pulsevault:upload.completed:"+string(u.UploadID))).String()
	details := map[string]any{"size": u.Size}
	auth.From(ctx).Explain(u.Owner, details)
	err := h.Audit.Append(ctx, audit.Upload, audit.Event{
		ID: id, Action: "upload.completed", UserID: u.Owner, UploadID: string(u.UploadID), Address: address, RequestID: requestID, Details: details,
	})
	if err != nil {
		return err
	}
	failpoint.Hit("upload/audited")
	u.Announced = true
	h.Metrics.uploads.Inc()
	h.Metrics.size.Observe(float64(u.Size))
	h.Counter.CountUpload(ctx)
	h.Log.InfoContext(ctx, "upload completed", "uploadId", u.UploadID, "size", u.Size)
	return nil
}

func (h *Handler) terminated(ctx context.Context, u vault.Upload) {
	x := exchangeOf(ctx)
	details := map[string]any{"size": u.Size, "offset": u.Offset}
	auth.From(ctx).Explain(u.Owner, details)
	err := h.Audit.Append(ctx, audit.Upload, audit.Event{
		Action: "upload.terminated", UserID: u.Owner, UploadID: string(u.UploadID), Address: x.client, RequestID: x.requestID, Details: details,
	})
	if err != nil {
		h.Log.ErrorContext(ctx, "audit entry not written", "action", "upload.terminated", "uploadId", u.UploadID, "error", err)
	}
}

// ServeHTTP answers tus requests. What tusd leaves open is settled here: ids are parsed before they reach it, Location is
// a path, a wrong Content-Type is 415, errors are JSON, and uploads tell when they expire.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if override := r.Header.Get("X-HTTP-Method-Override"); r.Method == http.MethodPost && override != "" {
		r.Method = override
	}
	id := r.PathValue("id")
	claim, err := h.check(r, id)
	if err == nil && id != "" && r.Method != http.MethodOptions {
		err = h.admit(r, vault.UploadID(id))
	}
	if err != nil {
		w.Header().Set("Tus-Resumable", "1.0.0")
		web.Fail(w, r, err)
		return
	}
	x := &exchange{client: web.Client(r), requestID: web.RequestID(r), claim: claim}
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	r.Body = body{r.Body, x}
	tw := &tusWriter{ResponseWriter: w, request: r, exchange: x, prefix: h.PublicPath}
	h.tus.ServeHTTP(tw, r)
	tw.finish()
	// tusd sets one, and the server keeps it for whatever the connection carries next. Some hosts have none.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
}

// Status answers GET /uploads/status/{id}: where an upload stands, for clients without tus.
func (h *Handler) Status(w http.ResponseWriter, r *http.Request) error {
	id, err := vault.ParseUploadID(r.PathValue("id"))
	if err != nil {
		return errNotFound()
	}
	if err := h.admit(r, id); err != nil {
		return err
	}
	u, err := h.Store.Get(r.Context(), id)
	if err != nil {
		return err
	}
	if u.Deleted || u.Expired(h.Now()) {
		return errNotFound()
	}
	w.Header().Set("Cache-Control", "no-store")
	web.JSON(w, r, http.StatusOK, struct {
		UploadID vault.UploadID `json:"uploadId"`
		Size     int64          `json:"size"`
		Offset   int64          `json:"offset"`
		Complete bool           `json:"complete"`
		Exists   bool           `json:"exists"`
	}{u.UploadID, u.Size, u.Offset, u.Complete(), true})
	return nil
}

type exchangeKey struct{}

// exchange is what handler, hooks and store tell one another about a request; tusd carries only the context.
type exchange struct {
	client, requestID string
	claim             *Claim // what the client says of its piece
	deadline          deadline
	expires           time.Time
	interrupt         interrupt
}

func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

func noteExpiry(ctx context.Context, u vault.Upload) {
	if u.Finalize == nil {
		exchangeOf(ctx).expires = u.ExpiresAt
	}
}

// tusWriter makes tusd's answers ours.
type tusWriter struct {
	http.ResponseWriter
	request  *http.Request
	exchange *exchange
	prefix   string
	status   int          // of an error, until its text is known
	text     bytes.Buffer // of an error, as tusd writes it: "ERR_CODE: message\n"
}

func (w *tusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// SetReadDeadline is how tusd ends a body that is silent for too long, or that has to make way.
func (w *tusWriter) SetReadDeadline(t time.Time) error {
	return w.exchange.deadline.set(http.NewResponseController(w.ResponseWriter), t)
}

func (w *tusWriter) WriteHeader(status int) {
	h := w.Header()
	if w.exchange.deadline.answer() {
		h.Set("Connection", "close")
	}
	if location := h.Get("Location"); location != "" {
		h.Set("Location", w.prefix+"/uploads/"+location[strings.LastIndexByte(location, '/')+1:])
	}
	if h.Get("Tus-Extension") != "" {
		h.Set("Tus-Extension", h.Get("Tus-Extension")+",expiration,checksum")
		h.Set("Tus-Checksum-Algorithm", algorithms)
	}
	if !w.exchange.expires.IsZero() && w.request.Method != http.MethodDelete {
		h.Set("Upload-Expires", w.exchange.expires.UTC().Format(http.TimeFormat))
	}
	if status == http.StatusMethodNotAllowed {
		h.Set("Allow", allowed(w.request.PathValue("id")))
	}
	if status >= http.StatusBadRequest && w.request.Method != http.MethodHead {
		w.status = status
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *tusWriter) Write(b []byte) (int, error) {
	if w.status != 0 {
		return w.text.Write(b)
	}
	return w.ResponseWriter.Write(b)
}

// finish sends the error that tusd has written, as JSON.
func (w *tusWriter) finish() {
	if w.status == 0 {
		return
	}
	code, message, ok := strings.Cut(strings.TrimSpace(w.text.String()), ": ")
	if !ok {
		code, message = "method_not_allowed", "this address does not answer to that method"
	}
	code = strings.ToLower(strings.TrimPrefix(code, "ERR_"))
	if w.status == http.StatusInternalServerError && code == "internal_server_error" {
		web.Logger(w.request).ErrorContext(w.request.Context(), "request failed", "error", message)
		message = "something went wrong here; ask for the offset and resume"
	}
	if code == "upload_interrupted" { // tusd says 400, upon which clients give up
		w.status, message = http.StatusLocked, "another request wants this upload; ask for the offset and resume"
	}
	w.Header().Del("Content-Length")
	web.FailWith(w.ResponseWriter, w.request, w.status, &vault.Error{Code: code, Message: message})
}
