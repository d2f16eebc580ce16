package embedded

// Collide makes all dedupe keys share one fingerprint.
func Collide(c *Config) { c.fingerprint = func(string) uint64 { return 7 } }
