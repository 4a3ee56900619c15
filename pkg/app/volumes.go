package app

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// volumeTimeout bounds what a scrape waits for a file system: one on another machine may hang.
const volumeTimeout = time.Second

var (
	volumeSize = prometheus.NewDesc("pulsevault_volume_size_bytes", "Size of the file system that holds a folder.", []string{"folder"}, nil)
	volumeFree = prometheus.NewDesc("pulsevault_volume_free_bytes", "What may still be written to the file system that holds a folder.", []string{"folder"}, nil)
)

// volume shows how much room there is for a folder. One that does not answer is missing, and is not asked again before it has
// answered. Where a system cannot tell, nothing is shown.
type volume struct {
	folder, path string
	room         func(dir string) (size, free int64, ok bool)
	asked        atomic.Bool
}

// volumes are the folders of a configuration: all of a directory, and with a bucket only the one for work in progress.
func (c Config) volumes() []*volume {
	if c.InBucket {
		return []*volume{{folder: "scratch", path: c.MediaRoot, room: room}}
	}
	return []*volume{
		{folder: "uploads", path: c.UploadDir, room: room},
		{folder: "videos", path: c.VideoDir, room: room},
		{folder: "audit", path: c.AuditDir, room: room},
	}
}

// volumeCollector shows several volumes.
type volumeCollector []*volume

func (volumeCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- volumeSize
	ch <- volumeFree
}

func (vs volumeCollector) Collect(ch chan<- prometheus.Metric) {
	late := time.After(volumeTimeout)
	answers := make(chan answer, len(vs))
	waiting := 0
	for _, v := range vs {
		if v.ask(answers) {
			waiting++
		}
	}
	for ; waiting > 0; waiting-- {
		select {
		case r := <-answers:
			if r.known {
				ch <- prometheus.MustNewConstMetric(volumeSize, prometheus.GaugeValue, float64(r.size), r.folder)
				ch <- prometheus.MustNewConstMetric(volumeFree, prometheus.GaugeValue, float64(r.free), r.folder)
			}
		case <-late:
			return
		}
	}
}

// answer is what the system says about a volume.
type answer struct {
	folder     string
	size, free int64
	known      bool
}

// ask has the system asked, if it is not still about to answer.
func (v *volume) ask(answers chan<- answer) bool {
	if !v.asked.CompareAndSwap(false, true) {
		return false
	}
	go func() {
		size, free, known := v.room(v.path)
		v.asked.Store(false)
		answers <- answer{v.folder, size, free, known}
	}()
	return true
}
