package pattern

import (
	"bytes"
	"math"
	"strconv"
)

// exactDigits is how many significant digits every decimal keeps through a
// float64 and back; literals with no more of them are always comparable.
const exactDigits = 15

// comparableNumber returns the value of a JSON number literal, and whether literals
// of that value are compared by it: when the literal is exactly the shortest
// decimal that stands for its float64. Others are compared as text.
func comparableNumber[T text](literal T) (float64, bool) {
	if f, ok := shortDecimal(literal); ok {
		return f, true
	}
	f, err := strconv.ParseFloat(string(literal), 64)
	if err != nil || math.IsInf(f, 0) {
		return 0, false
	}
	want, ok := decimalOf([]byte(literal))
	if !ok {
		return 0, false
	}
	var buf [32]byte
	if got, _ := decimalOf(strconv.AppendFloat(buf[:0], f, 'e', -1, 64)); got.equal(want) {
		return f, true
	}
	// The reference writes at least two digits, which says more than the
	// shortest form for the smallest subnormals only: 4.9e-324 against 5e-324.
	if len(want.digits) == 2 {
		got, _ := decimalOf(strconv.AppendFloat(buf[:0], f, 'e', 1, 64))
		return f, got.equal(want)
	}
	return 0, false
}

// shortDecimal reads the literals that most events have: few digits and no
// exponent. The result is exact because both the digits and the power of ten
// are, so that their quotient is rounded once.
func shortDecimal[T text](literal T) (float64, bool) {
	i, negative := 0, literal[0] == '-'
	if negative {
		i = 1
	}
	if len(literal)-i > exactDigits {
		return 0, false
	}
	var n int64
	scale, fraction := 1.0, false
	for ; i < len(literal); i++ {
		if literal[i] == '.' {
			fraction = true
			continue
		}
		c := literal[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
		if fraction {
			scale *= 10
		}
	}
	if negative {
		n = -n
	}
	return float64(n) / scale, true
}

// decimal is a number as digits without zeros at either end, scaled by ten to
// the power of exponent; zero has no digits.
type decimal struct {
	negative bool
	digits   []byte
	exponent int64
}

func (d decimal) equal(e decimal) bool {
	if len(d.digits) == 0 || len(e.digits) == 0 {
		return len(d.digits) == len(e.digits)
	}
	return d.negative == e.negative && d.exponent == e.exponent && bytes.Equal(d.digits, e.digits)
}

// decimalOf takes a literal apart. It is false for exponents that no float64
// has, but for those of zero.
func decimalOf(literal []byte) (decimal, bool) {
	var d decimal
	if literal[0] == '-' {
		d.negative = true
		literal = literal[1:]
	}
	mantissa, exponent := literal, []byte(nil)
	if i := bytes.IndexAny(literal, "eE"); i >= 0 {
		mantissa, exponent = literal[:i], literal[i+1:]
	}
	integer, fraction, _ := bytes.Cut(mantissa, []byte{'.'})
	d.digits = append(append(make([]byte, 0, len(mantissa)), integer...), fraction...)
	d.exponent = -int64(len(fraction))
	d.digits = bytes.TrimLeft(d.digits, "0")
	trimmed := bytes.TrimRight(d.digits, "0")
	d.exponent += int64(len(d.digits) - len(trimmed))
	d.digits = trimmed
	if len(exponent) == 0 || len(d.digits) == 0 {
		return d, true
	}
	e, err := strconv.ParseInt(string(exponent), 10, 32)
	d.exponent += e
	return d, err == nil
}
