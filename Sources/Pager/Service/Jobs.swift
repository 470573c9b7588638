// What the object's callbacks are still to be called for.
//
// A job is made when its turn has not come: another callback of the object runs. A `.write` job is at the same time a
// version of its page in the write-back (WriteBack.swift): the newest one of each page is in `VersionIndex`.

import CPlatform

enum VersionState: UInt8 {
    /// In the queue.
    case waiting
    /// `pager_write_page` runs with it.
    case writing
    /// Done, well or not; kept for a waiter.
    case finished
}

struct Job {
    /// In `VersionIndex`, by page. Versions only.
    var link = HashLink(next: nil, key: 0)
    /// The next in the queue.
    var next: JobPointer?
    var page: UInt64
    /// `.read`, `.unlock`, `.notify` or `.write`.
    var action: Action
    /// `Effects.holders` of the effect that asked for it.
    var hadHolders: Bool
    /// A read that was tried together with others, and is to be done by itself.
    var isSingle = false
    /// A version's data; those that an unlock keeps at hand (`NextCall.data`). 0: none.
    var address: vm_address_t = 0

    // Versions only.
    var state = VersionState.waiting
    /// It is the page's newest version and in the index.
    var isNewest = false
    var code: Int32 = 0
    /// One for the index, one until it is written or skipped, one for each thread that sends it.
    var references: UInt32 = 0
    /// The list of what is not written yet (`VersionIndex`).
    var olderUnfinished: JobPointer?
    var newerUnfinished: JobPointer?
}

typealias JobPointer = UnsafeMutablePointer<Job>

/// First in, first out. Locked. Bounded by the number of pages that are being dealt with: each page has at most one job that
/// is not a write, and one waiting version.
struct JobQueue {
    private(set) var first: JobPointer?
    private var last: JobPointer?
    private(set) var count = 0
    /// Versions among them.
    private(set) var versions = 0

    var isEmpty: Bool { first == nil }

    mutating func append(_ job: JobPointer) {
        job.pointee.next = nil
        if let last { last.pointee.next = job } else { first = job }
        last = job
        count += 1
        if job.pointee.action == .write { versions += 1 }
    }

    /// Jobs that were taken out, linked through `next`, go back to the head.
    mutating func prepend(_ jobs: JobPointer) {
        var end = jobs
        while true {
            end.pointee.state = .waiting
            count += 1
            if end.pointee.action == .write { versions += 1 }
            guard let next = end.pointee.next else { break }
            end = next
        }
        end.pointee.next = first
        first = jobs
        if last == nil { last = end }
    }

    /// Takes out the first job that may start.
    mutating func removeFirst(where mayStart: (Job) -> Bool) -> JobPointer? {
        var before: JobPointer?
        var job = first
        while let candidate = job {
            if mayStart(candidate.pointee) {
                remove(candidate, after: before)
                return candidate
            }
            before = candidate
            job = candidate.pointee.next
        }
        return nil
    }

    /// Takes out this job, which is in the queue.
    mutating func remove(_ job: JobPointer) {
        var before: JobPointer?
        var candidate = first
        while candidate != job {
            before = candidate
            candidate = candidate.unsafelyUnwrapped.pointee.next
        }
        remove(job, after: before)
    }

    private mutating func remove(_ job: JobPointer, after before: JobPointer?) {
        if let before { before.pointee.next = job.pointee.next } else { first = job.pointee.next }
        if last == job { last = before }
        job.pointee.next = nil
        count -= 1
        if job.pointee.action == .write { versions -= 1 }
    }
}

extension Job {
    /// nil: memory is exhausted (only where `exhaustion` is `.fails`).
    static func create(_ action: Action, _ page: UInt64, hadHolders: Bool,
                       _ exhaustion: Memory.Exhaustion) -> JobPointer? {
        guard let job = Memory.allocate(Job.self, 1, exhaustion) else { return nil }
        job.initialize(to: Job(next: nil, page: page, action: action, hadHolders: hadHolders))
        return job
    }
}
