package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/grapnel/grapnel/internal/store/disk"
)

// log is the least that makes bodies durable: one file, one writer, one fdatasync
// for whatever waits. A record is its length, its CRC-32C and the body.
type log struct {
	file    disk.File
	waiting chan *record
	stopped chan struct{}
	records sync.Pool
}

// record is a body on its way into the log.
type record struct {
	body   []byte
	synced chan error // size 1: the writer never waits for a reader
}

const (
	recordHead = 8
	maxBatch   = 1024
)

var errLog = errors.New("broken log")

// createLog makes the file and starts its writer, which close ends.
func createLog(name string) (*log, error) {
	file, err := disk.OS().Create(name)
	if err != nil {
		return nil, fmt.Errorf("creating a log: %w", err)
	}
	l := &log{
		file: file,
		// Holds a batch while the one before is synced: that is what makes the
		// next sync worth its price.
		waiting: make(chan *record, maxBatch),
		stopped: make(chan struct{}),
	}
	l.records.New = func() any { return &record{synced: make(chan error, 1)} }
	go l.write()
	return l, nil
}

// append returns when the body is on disk. No append may follow close.
func (l *log) append(body []byte) error {
	r := l.records.Get().(*record) //nolint:forcetypeassert // the pool holds nothing else
	r.body = body
	l.waiting <- r
	err := <-r.synced
	r.body = nil
	l.records.Put(r)
	return err
}

func (l *log) write() {
	defer close(l.stopped)
	var offset int64
	var buf []byte
	var batch []*record
	for first := range l.waiting {
		batch = append(batch[:0], first)
		runtime.Gosched() // lets those that are about to come, come
	drain:
		for len(batch) < maxBatch {
			select {
			case r, ok := <-l.waiting:
				if !ok {
					break drain
				}
				batch = append(batch, r)
			default:
				break drain
			}
		}
		buf = buf[:0]
		for _, r := range batch {
			buf = appendRecord(buf, r.body)
		}
		_, err := l.file.WriteAt(buf, offset)
		if err == nil {
			err = l.file.Sync()
		}
		offset += int64(len(buf))
		for _, r := range batch {
			r.synced <- err
		}
	}
}

func appendRecord(dst, body []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return append(dst, body...)
}

// close waits for what was appended.
func (l *log) close() error {
	close(l.waiting)
	<-l.stopped
	return l.file.Close()
}

// readLog calls fn with every body of a log, which fn must not keep.
func readLog(name string, fn func(body []byte)) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("reading a log: %w", err)
	}
	for at := 0; at < len(data); {
		rest := data[at:]
		if len(rest) < recordHead {
			return fmt.Errorf("%w: %w at %d", errLog, io.ErrUnexpectedEOF, at)
		}
		size := int(binary.LittleEndian.Uint32(rest))
		sum := binary.LittleEndian.Uint32(rest[4:])
		rest = rest[recordHead:]
		if size > len(rest) {
			return fmt.Errorf("%w: %w at %d", errLog, io.ErrUnexpectedEOF, at)
		}
		if crc32.Checksum(rest[:size], crc32.MakeTable(crc32.Castagnoli)) != sum {
			return fmt.Errorf("%w: checksum at %d", errLog, at)
		}
		fn(rest[:size])
		at += recordHead + size
	}
	return nil
}
