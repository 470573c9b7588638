// Machine words to 64 bits, on 32- and 64-bit machines.
//
// Guarantees: compiles to a move, and pulls in nothing. On 32-bit machines the standard library's own conversions
// (`UInt64(x)`, `UInt64(truncatingIfNeeded: x)`) and its checked shifts of 64-bit numbers (`<<`, `>>`) leave generic code
// in the object file that allocates, which `-no-allocations` refuses; masking shifts (`&<<`, `&>>`) and
// conversions to smaller types do not.

@inline(__always)
func widen(_ value: UInt) -> UInt64 {
#if _pointerBitWidth(_32)
#if _endian(little)
    return unsafeBitCast((UInt32(value), 0 as UInt32), to: UInt64.self)
#else
    return unsafeBitCast((0 as UInt32, UInt32(value)), to: UInt64.self)
#endif
#else
    return UInt64(value)
#endif
}

@inline(__always)
func widen(_ value: UInt32) -> UInt64 { widen(UInt(value)) }

/// Not negative.
@inline(__always)
func widen(_ value: Int) -> UInt64 {
    assert(value >= 0)
    return widen(UInt(bitPattern: value))
}
