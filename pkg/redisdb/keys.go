// Package redisdb holds what several processes agree on for a while: cache, locks, counters; and the embedded Redis.
// Every key is a function here.
//
//	key                           type           lives      what
//	cache:metadata:{videoId}      string         Cache.TTL  public metadata; dropped at every write
//	lock:upload:{id}              string         6 s        the lease of whoever writes to an upload; its token
//	release:upload:{id}           channel        –          asks the holder of that lease to let go; its token
//	progress:{videoId}            string         10 min     how far a running transcode is, 0…1
//	metrics:uploads:completed     counter        for ever   uploads whose last byte has arrived
//	metrics:transcode:success     counter        for ever   transcodes that ended well
//	metrics:transcode:failed      counter        for ever   transcodes that were given up
//	uploads:open                  integer        10 min     uploads that have not become videos; set by each sweep
//	uploads:open:bytes            integer        10 min     their lengths together
//	audit:head:{category}         string         for ever   where an audit chain ends, as package audit writes it
//	videos:of:{userId}            sorted set     for ever   the shelves of an owner's videos, of all videos without one
//	videos:in:{shelf}:{userId}    sorted set     for ever   those videos
//	videos:owners                 hash           for ever   whose each video is
//	videos:complete               string         for ever   every video is in these sets, in the incarnation it names
//	videos:checked                string         1 h        that was seen to be so
//	videos:counting               string         30 s       the lease of whoever completes them; its token
//
// The queue's own keys begin with "asynq:" and belong to package queue. Wiping all of it loses no video and no record.
package redisdb

import "pulsevault/pkg/vault"

// The keys of the three totals.
const (
	UploadsCompletedKey = "metrics:uploads:completed"
	TranscodeSuccessKey = "metrics:transcode:success"
	TranscodeFailedKey  = "metrics:transcode:failed"
)

// What OpenUploads counts.
const (
	OpenCountKey = "uploads:open"
	OpenBytesKey = "uploads:open:bytes"
)

// What VideoIndex keeps beside its sets.
const (
	ownersKey   = "videos:owners"
	completeKey = "videos:complete"
	checkedKey  = "videos:checked"
	countingKey = "videos:counting"
)

const (
	releaseChannelPrefix = "release:upload:"
	auditHeadPrefix      = "audit:head:"
)

// MetadataKey is where the public metadata of a video is cached.
func MetadataKey(id vault.VideoID) string { return "cache:metadata:" + string(id) }

// UploadLockKey holds the token of whoever writes to an upload.
func UploadLockKey(id string) string { return "lock:upload:" + id }

// ReleaseChannel is where the holder of an upload's lock is asked to let go.
func ReleaseChannel(id string) string { return releaseChannelPrefix + id }

// ProgressKey says how far a running transcode is.
func ProgressKey(id vault.VideoID) string { return "progress:" + string(id) }

// AuditHeadKey holds the head of an audit chain.
func AuditHeadKey(category string) string { return auditHeadPrefix + category }

// VideosOfKey holds the names of the shelves of an owner's videos, of all videos if nobody is named.
func VideosOfKey(userID string) string { return "videos:of:" + userID }

// ShelfKey holds the videos of a shelf. The shelf comes first because its length is known: a userId may look like anything.
func ShelfKey(shelf, userID string) string { return "videos:in:" + shelf + ":" + userID }
