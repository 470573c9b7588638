// Conversions to 64 bits on 32-bit machines.
//
// Guarantees: the same values as the standard library's. Its own, generic over all integers, leave code for arrays of words in the
// object file (see Widen.swift), and so do its checked shifts of 64-bit numbers. An overload for one type wins over a generic one, so the rest of
// the engine says `UInt64(x)` and `x << n` as anywhere else. On 64-bit machines there is nothing here.

#if _pointerBitWidth(_32)
extension UInt64 {
    @inline(__always) init(_ value: UInt) { self = widen(value) }
    @inline(__always) init(_ value: UInt32) { self = widen(value) }
    @inline(__always) init(_ value: UInt16) { self = widen(UInt(value)) }
    @inline(__always) init(_ value: UInt8) { self = widen(UInt(value)) }
    /// Not negative.
    @inline(__always) init(_ value: Int) {
        precondition(value >= 0)
        self = widen(UInt(bitPattern: value))
    }

    @inline(__always) init(truncatingIfNeeded value: UInt) { self = widen(value) }
    @inline(__always) init(truncatingIfNeeded value: UInt32) { self = widen(value) }
    @inline(__always) init(truncatingIfNeeded value: Int) { self = UInt64(bitPattern: Int64(Int32(value))) }

    /// As the standard library's: nothing is left of a number that is shifted by 64 bits or more.
    @inline(__always) static func << (value: UInt64, count: UInt64) -> UInt64 { count < 64 ? value &<< count : 0 }
    @inline(__always) static func >> (value: UInt64, count: UInt64) -> UInt64 { count < 64 ? value &>> count : 0 }
    @inline(__always) static func << (value: UInt64, count: Int) -> UInt64 { value << UInt64(count) }
    @inline(__always) static func >> (value: UInt64, count: Int) -> UInt64 { value >> UInt64(count) }
}

extension Int64 {
    @inline(__always) init(_ value: Int32) {
#if _endian(little)
        self = Int64(bitPattern: unsafeBitCast((value, value >> 31), to: UInt64.self))
#else
        self = Int64(bitPattern: unsafeBitCast((value >> 31, value), to: UInt64.self))
#endif
    }
}

// The way back. (Their checks widen the limit.)

extension UInt {
    @inline(__always) init(_ value: UInt64) {
        precondition(value <= 0xffff_ffff)
        self.init(truncatingIfNeeded: value)
    }
}

extension Int {
    @inline(__always) init(_ value: UInt64) {
        precondition(value <= 0x7fff_ffff)
        self.init(truncatingIfNeeded: value)
    }
}

extension UInt32 {
    @inline(__always) init(_ value: UInt64) {
        precondition(value <= 0xffff_ffff)
        self.init(truncatingIfNeeded: value)
    }
}
#endif
