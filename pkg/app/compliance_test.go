package app_test

import (
	"testing"

	"pulsevault/pkg/app"
	"pulsevault/pkg/compliance"
)

// Every setting that an answer to a safeguard depends on is one that the configuration reads.
func TestSettingsOfTheSafeguardsAreRead(t *testing.T) {
	read := map[string]bool{}
	for _, settings := range []map[string]string{
		{}, {"AUTH_MODE": "oidc"}, {"AUTH_MODE": "apikey"}, {"REDIS_HOST": "127.0.0.1"}, {"STORAGE": "s3"}, {"QUEUE": "sqs"}, {"APP_ENV": "production"},
	} {
		_, _ = app.ConfigFromEnv(func(name string) string { // whether it is complete is of no matter
			read[name] = true
			return settings[name]
		})
	}
	for _, s := range compliance.Safeguards() {
		for _, m := range s.Measures {
			for _, name := range m.Settings {
				if !read[name] {
					t.Errorf("164.312%s: nobody reads %s", s.Paragraph, name)
				}
			}
		}
	}
}
