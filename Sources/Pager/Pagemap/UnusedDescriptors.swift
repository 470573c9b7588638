// Descriptors that no page is in any more, kept for the next page.
//
// A page that is asked for, handed over or flushed passes through conditions that last only for the moment. With many clients each is a
// descriptor; were it freed at once, every page would make the same ones anew, and the edges that lead to them would be stale each time.
//
// Guarantees:
//   - At most `limit` descriptors and `byteLimit` bytes of them (their edges apart) are kept, whatever happens: the one that was listed first
//     goes first.
//   - One that is used again stays listed; it counts against the limits until its turn comes, and is listed again when it is next
//     unused. So what goes in a circle costs nothing.
//   - `freeUnused` frees all of them.

import CPlatform

struct UnusedDescriptors {
    /// A ring of numbers; nil: nothing is kept.
    private let ring: UnsafeMutablePointer<UInt32>?
    private let limit: Int
    private var first = 0
    private(set) var count = 0
    /// Of the descriptors that are listed, without their edges.
    fileprivate var listedBytes = 0

    static let byteLimit = 16_384

    /// nil: memory is exhausted.
    init?(_ limit: Int) {
        self.limit = limit
        ring = limit == 0 ? nil : Memory.allocate(UInt32.self, limit)
        if limit > 0 && ring == nil { return nil }
    }

    func destroy() { Memory.free(ring) }

    var bytes: Int { limit * MemoryLayout<UInt32>.stride }
    var keepsNone: Bool { limit == 0 }
    fileprivate var isFull: Bool { count == limit }

    fileprivate mutating func append(_ number: UInt32) {
        var place = first + count
        if place >= limit { place -= limit }
        ring.unsafelyUnwrapped[place] = number
        count += 1
    }

    fileprivate mutating func removeFirst() -> UInt32 {
        let number = ring.unsafelyUnwrapped[first]
        first = first + 1 == limit ? 0 : first + 1
        count -= 1
        return number
    }
}

extension DescriptorTable {
    /// A descriptor without pages gets one.
    @inline(__always)
    func noteUsed() {
        core.pointee.statistics.live &+= 1
        core.pointee.statistics.unused &-= 1
    }

    /// A descriptor has lost its last page.
    @inline(__always)
    func noteUnused(_ pointer: DescriptorPointer) {
        core.pointee.statistics.live &-= 1
        core.pointee.statistics.unused &+= 1
        if !pointer.pointee.isListed { list(pointer) }
    }

    @inline(never)
    private func list(_ pointer: DescriptorPointer) {
        let bytes = DescriptorTable.listedBytes(pointer)
        if core.pointee.unused.keepsNone || bytes > UnusedDescriptors.byteLimit { return freeUnused(pointer) }
        while core.pointee.unused.isFull || core.pointee.unused.listedBytes + bytes > UnusedDescriptors.byteLimit { unlistFirst() }
        core.pointee.unused.append(pointer.pointee.number)
        core.pointee.unused.listedBytes += bytes
        pointer.pointee.isListed = true
    }

    private static func listedBytes(_ pointer: DescriptorPointer) -> Int { Descriptor(pointer: pointer).bytes }

    private func unlistFirst() {
        let pointer = descriptor(core.pointee.unused.removeFirst()).pointer
        core.pointee.unused.listedBytes -= DescriptorTable.listedBytes(pointer)
        pointer.pointee.isListed = false
        if pointer.pointee.pages == 0 { freeUnused(pointer) }
    }

    private func freeUnused(_ pointer: DescriptorPointer) {
        core.pointee.statistics.unused -= 1
        free(pointer)
    }

    /// Keeps none of those that are unused now.
    func freeUnused() {
        while core.pointee.unused.count > 0 { unlistFirst() }
    }
}
