package event

// AppendCloudEvent appends the event in the JSON format of CloudEvents 1.0:
// source and detail type become "source" and "type", the bus and the account
// stay in the extension attributes "busname" and "awsaccount", the detail is
// the data. (CloudEvents 1.0.2, JSON format 3.)
func (e *Envelope) AppendCloudEvent(dst []byte, bus string) []byte {
	dst = append(dst, `{"specversion":"1.0","id":`...)
	dst = AppendString(dst, string(e.ID))
	dst = append(dst, `,"source":`...)
	dst = AppendString(dst, e.Source)
	dst = append(dst, `,"type":`...)
	dst = AppendString(dst, e.DetailType)
	dst = append(dst, `,"time":"`...)
	dst = AppendTime(dst, e.Time)
	dst = append(dst, `","datacontenttype":"application/json","awsaccount":`...)
	dst = AppendString(dst, e.Account)
	dst = append(dst, `,"awsregion":`...)
	dst = AppendString(dst, e.Region)
	if bus != "" {
		dst = append(dst, `,"busname":`...)
		dst = AppendString(dst, bus)
	}
	dst = append(dst, `,"data":`...)
	dst = AppendCompact(dst, e.Detail)
	return append(dst, '}')
}
