// A shared descriptor: the state of all pages that are in the same, wide condition.
//
// Guarantees:
//   - The content never changes while the descriptor lives; it lives as long as a page word refers to it.
//   - One block of memory, exactly as large as the content needs. (Remembered edges have a block of their own.)
//   - The block never moves.

import CPlatform

/// How a descriptor lies in memory: this, the access entries, the queue, the pending errors.
struct DescriptorHeader {
    var summary: ContentSummary
    /// What the page word says, and where the table finds it.
    var number: UInt32
    /// Never given to another descriptor of this table: tells this one from a later one of the same number.
    var serial: UInt64
    /// Page words (and whoever is about to store one) that refer to it.
    var pages: UInt64 = 0

    // The tree that orders the table's descriptors by content.
    var parent: DescriptorPointer?
    var left: DescriptorPointer?
    var right: DescriptorPointer?
    var isRed = true
    /// In the table's list of what may be unused (UnusedDescriptors.swift).
    var isListed = false

    /// Moves that were made from here, or nil.
    var edges: UnsafeMutablePointer<DescriptorEdges>?
}

typealias DescriptorPointer = UnsafeMutablePointer<DescriptorHeader>

/// Read access to a descriptor.
struct Descriptor {
    let pointer: DescriptorPointer

    private static func bytes(_ summary: ContentSummary) -> Int {
        let entries = Int(summary.accessCount) + Int(summary.queueCount)
        return MemoryLayout<DescriptorHeader>.stride + entries * MemoryLayout<PackedEntry>.stride
            + Int(summary.pendingCount) * MemoryLayout<PendingError>.stride
    }

    /// A copy of the content, counted for no page and not yet in the tree.
    static func create(_ content: PageContent, number: UInt32, serial: UInt64,
                       _ exhaustion: Memory.Exhaustion) -> DescriptorPointer? {
        guard let block = Memory.allocateBytes(bytes(content.summary), exhaustion) else { return nil }
        let pointer = block.bindMemory(to: DescriptorHeader.self, capacity: 1)
        pointer.initialize(to: DescriptorHeader(summary: content.summary, number: number, serial: serial))
        let arrays = Descriptor(pointer: pointer).arrays
        arrays.access.update(from: content.accessEntries, count: content.accessCount)
        arrays.queue.update(from: content.queueEntries, count: content.queueCount)
        arrays.pending.update(from: content.pendingErrors, count: content.pendingCount)
        return pointer
    }

    /// Without the remembered edges.
    var bytes: Int { Descriptor.bytes(pointer.pointee.summary) }

    private var arrays: (access: UnsafeMutablePointer<PackedEntry>, queue: UnsafeMutablePointer<PackedEntry>,
                         pending: UnsafeMutablePointer<PendingError>) {
        let summary = pointer.pointee.summary
        let entries = Int(summary.accessCount) + Int(summary.queueCount)
        let access = UnsafeMutableRawPointer(pointer + 1).assumingMemoryBound(to: PackedEntry.self)
        return (access, access + Int(summary.accessCount),
                UnsafeMutableRawPointer(access + entries).assumingMemoryBound(to: PendingError.self))
    }

    var content: PageContent {
        let arrays = arrays
        return PageContent(summary: pointer.pointee.summary, accessEntries: UnsafePointer(arrays.access),
                           queueEntries: UnsafePointer(arrays.queue), pendingErrors: UnsafePointer(arrays.pending))
    }

    var number: UInt32 { pointer.pointee.number }
    var pages: UInt64 { pointer.pointee.pages }
}

extension ScratchState {
    func load(_ descriptor: Descriptor) { load(descriptor.content) }
}
