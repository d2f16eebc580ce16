// Package awscall makes one signed call of an AWS API for the kinds of
// destinations that need one: where credentials come from, Signature Version 4
// at the time of sending, transport through egress, and classes for what AWS
// answers, with the action that a policy is missing. It never retries, and it
// knows no API: what is called, and what an answer means, is each kind's own.
package awscall
