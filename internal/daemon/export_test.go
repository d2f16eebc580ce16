package daemon

import (
	"bufio"
	"bytes"
	"io"
	"net/netip"
)

// ReadProxyHeader reads a PROXY header from the start of the text and returns
// the sender and what follows.
func ReadProxyHeader(text []byte) (netip.AddrPort, []byte, error) {
	r := bufio.NewReaderSize(bytes.NewReader(text), proxyBuffer)
	from, err := readProxyHeader(r)
	if err != nil {
		return from, nil, err
	}
	rest, err := io.ReadAll(r)
	return from, rest, err
}
