package audit

// Category names a chain: the entries of one category form one chain, running on across days.
type Category string

// The chains.
const (
	Access    Category = "access"    // links signed, media served
	Upload    Category = "upload"    // uploads completed, videos finalized
	Transcode Category = "transcode" // videos transcoded or given up
	Auth      Category = "auth"      // credentials made, used and refused; nothing yet
	Admin     Category = "admin"     // what is done to the vault as a whole; nothing yet
	Emergency Category = "emergency" // links given in an emergency to who had no right to them, for review
)

// Categories lists every chain there may be.
var Categories = []Category{Access, Upload, Transcode, Auth, Admin, Emergency}

// Event is what happened. Empty members are left out of the entry.
type Event struct {
	// ID becomes the entry's eventId; empty makes a fresh UUID. A caller that may have to say the same thing again after
	// a crash gives the same ID both times, so that a reader sees one event in two entries.
	ID        string         `json:"-"`
	Action    string         `json:"action"` // such as "video.finalized"
	RequestID string         `json:"requestId,omitempty"`
	UserID    string         `json:"userId,omitempty"`
	Address   string         `json:"ip,omitempty"` // the client's IP address; anonymised when it is written
	UploadID  string         `json:"uploadId,omitempty"`
	VideoID   string         `json:"videoId,omitempty"`
	Path      string         `json:"path,omitempty"`
	Details   map[string]any `json:"details,omitempty"`
}
