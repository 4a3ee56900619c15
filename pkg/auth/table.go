package auth

// Action is what a request is about to do.
type Action string

// The actions.
const (
	Upload     Action = "upload"      // create an upload, add to it, look at it, finalize or end it
	Play       Action = "play"        // sign a link to media of a video
	ListVideos Action = "list-videos" // see which videos there are
	ReadVideo  Action = "read-video"  // see the record of a video
	Delete     Action = "delete"      // remove a video for good
	Emergency  Action = "emergency"   // play a video without the right to, for a reason that is put on record
	ActFor     Action = "act-for"     // do something in another's name
)

// Public is what everybody may ask for without saying who they are: what is nobody's secret, and media, whose links carry a
// token. It is no action of the table.
const Public Action = "public"

// Actions lists every action of the table.
var Actions = []Action{Upload, Play, ListVideos, ReadVideo, Delete, Emergency, ActFor}

// reach is of whom an action may touch things.
type reach int

const (
	none reach = iota
	own
	every
)

// table says how far each role reaches. What does not stand in it is not allowed. OwnerDelete adds to it.
var table = map[Action]map[Role]reach{
	Upload:     {Uploader: own, Service: every, Admin: every},
	Play:       {Uploader: own, Viewer: every, Service: every, Admin: every},
	ListVideos: {Uploader: own, Viewer: every, Service: every, Admin: every},
	ReadVideo:  {Uploader: own, Viewer: every, Service: every, Admin: every},
	Delete:     {Admin: every},
	Emergency:  {Uploader: every, Viewer: every, Service: every, Admin: every},
	ActFor:     {Service: every},
}

// Policy is the table as an installation has it.
type Policy struct {
	OwnerDelete bool // who uploaded a video may delete it
}

// May reports whether the caller may do a to something that belongs to owner. Something without an owner is nobody's own.
func (p Policy) May(c Caller, a Action, owner string) bool {
	switch p.reach(c, a) {
	case every:
		return true
	case own:
		return owner != "" && owner == c.Name
	}
	return false
}

// MayAll reports whether the caller may do a to everybody's things.
func (p Policy) MayAll(c Caller, a Action) bool { return p.reach(c, a) == every }

// MayAny reports whether there may be anything that the caller may do a to, if only its own.
func (p Policy) MayAny(c Caller, a Action) bool { return p.reach(c, a) > none }

func (p Policy) reach(c Caller, a Action) reach {
	if c.open {
		return every
	}
	most := none
	for _, r := range c.Roles {
		most = max(most, table[a][r])
		if a == Delete && p.OwnerDelete && r == Uploader {
			most = max(most, own)
		}
	}
	return most
}
