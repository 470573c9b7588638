// The page word: which bit is whose, and that no field touches another.

import CPlatform
import XCTest
@testable import Pager

final class WordTests: PagemapTestCase {
    /// The word that the table at the head of Word.swift gives, from its figures and not from `WordLayout`.
    private func documented(_ access: [Access] = [], _ queue: [Waiter] = [], _ activity: Activity = .idle,
                            bit28: Bool = false, errorField: UInt32 = 0, held: Bool = false) -> UInt32 {
        var raw: UInt32 = 1
        for (client, access) in access.enumerated() { raw |= UInt32(access.rawValue) << (1 + 2 * client) }
        for (place, waiter) in queue.enumerated() {
            raw |= (1 | waiter.client << 1 | (waiter.write ? 8 : 0)) << (9 + 4 * place)
        }
        raw |= UInt32(activity.rawValue) << 25
        raw |= (bit28 ? 1 : 0) << 28 | errorField << 29 | (held ? 1 : 0) << 31
        return raw
    }

    private func state(_ raw: UInt32) -> WordState { WordState(Word(loaded: raw)) }

    /// Every order in which up to four clients can wait, each for reading or writing: 633 queues.
    static let everyQueue: [[Waiter]] = {
        var queues: [[Waiter]] = [[]]
        var last: [[Waiter]] = [[]]
        for _ in 0..<4 {
            last = last.flatMap { queue in
                (0..<UInt32(4)).filter { client in !queue.contains { $0.client == client } }
                    .flatMap { client in [false, true].map { queue + [Waiter(client: client, write: $0)] } }
            }
            queues += last
        }
        return queues
    }()

    func testTheFieldsFillTheWordAndDoNotOverlap() {
        XCTAssertTrue(WordLayout.widthsAddUp)
        let fields = [1, WordLayout.accessMask, WordLayout.queueMask, WordLayout.activityMask, WordLayout.invalidBit,
                      WordLayout.errorMask, WordLayout.heldBit]
        XCTAssertEqual(fields.reduce(0, |), UInt32.max)
        XCTAssertEqual(fields.map(\.nonzeroBitCount).reduce(0, +), 32)
        XCTAssertEqual(fields, [0x1, 0x1fe, 0x1fffe00, 0xe000000, 0x10000000, 0x60000000, 0x80000000])
        XCTAssertEqual(WordLayout.accessLow, 0b0_1010_1010)
        XCTAssertEqual(MemoryLayout<Word>.size, 4)
    }

    func testTheNamedWordsHaveTheDocumentedBits() {
        XCTAssertEqual(Word.untouched.raw, 0)
        XCTAssertEqual(Word.resting.raw, 1)
        XCTAssertEqual(WordState(.untouched).word, Word.resting)

        var s = WordState(.resting)
        s.setAccess(.write, of: 0)
        XCTAssertEqual(s.word.raw, 0b111)                      // at rest, client 0 writes
        s.activity = .pagingIn
        XCTAssertEqual(s.word.raw, 1 << 25 | 0b111)            // alone, granted on delivery
        s.activity = .pagingOut
        XCTAssertEqual(s.word.raw, 2 << 25 | 0b111)
        s.activity = .idle
        s.isHeld = true
        XCTAssertEqual(s.word.raw, 1 << 31 | 0b111)

        s = WordState(.resting)
        s.enqueue(Waiter(client: 3, write: true))
        s.enqueue(Waiter(client: 1, write: false))
        s.activity = .pagingIn
        XCTAssertEqual(s.word.raw, 1 << 25 | 0b0011_1111 << 9 | 1)
    }

    func testADescriptorWordIsItsNumberTimesTwo() {
        for number in [1, 2, 3, 1000, Word.maximumDescriptor - 1, Word.maximumDescriptor] {
            let word = Word(descriptor: number)
            XCTAssertEqual(word.raw, number * 2)
            XCTAssertTrue(word.isDescriptor)
            XCTAssertEqual(word.descriptor, number)
        }
        XCTAssertFalse(Word.untouched.isDescriptor)
        XCTAssertFalse(Word.resting.isDescriptor)
        XCTAssertFalse(Word(loaded: .max).isDescriptor)
    }

    func testEachFieldHoldsEachOfItsValues() {
        for activity in allActivities {
            var s = WordState(.resting)
            s.activity = activity
            XCTAssertEqual(s.activity, activity)
            XCTAssertEqual(s.word.raw, documented([], [], activity))
        }
        for (field, code) in wordErrors.enumerated() {
            var s = WordState(.resting)
            s.error = code
            XCTAssertEqual(s.error, code)
            XCTAssertEqual(s.word.raw, documented(errorField: UInt32(field)))
        }
        for client in 0..<UInt32(4) {
            for access in allAccess {
                var s = WordState(.resting)
                s.setAccess(access, of: client)
                XCTAssertEqual(s.access(of: client), access)
                XCTAssertEqual(s.word.raw, 1 | UInt32(access.rawValue) << (1 + 2 * client))
            }
        }
        for queue in WordTests.everyQueue {
            var s = WordState(.resting)
            for waiter in queue { s.enqueue(waiter) }
            XCTAssertEqual(s.word.raw, documented([], queue))
            XCTAssertEqual((0..<s.queueCount).map { s.waiter(at: $0) }, queue)
        }
    }

    func testBit28SaysInvalidWithAnErrorAndWriteLockedWithout() {
        var s = WordState(.resting)
        s.isWriteLocked = true
        XCTAssertEqual(s.word.raw, documented(bit28: true))
        XCTAssertTrue(s.isWriteLocked)
        XCTAssertFalse(s.isInvalid)
        s.isInvalid = false
        XCTAssertTrue(s.isWriteLocked, "clearing one must not clear the other")
        s.isWriteLocked = false
        s.error = Errno.io
        s.isInvalid = true
        XCTAssertEqual(s.word.raw, documented(bit28: true, errorField: 1))
        XCTAssertTrue(s.isInvalid)
        XCTAssertFalse(s.isWriteLocked)
        s.isWriteLocked = false
        XCTAssertTrue(s.isInvalid, "clearing one must not clear the other")
        s.error = Errno.quota
        XCTAssertTrue(s.isInvalid)
        s.error = 0
        XCTAssertEqual(s.word, Word.resting, "no error: not invalid, and not by accident write-locked")
    }

    /// All that a word says beside access and queue.
    private struct Rest {
        var activity: Activity
        var error: Int32
        var invalid, locked, held: Bool
        var raw: UInt32
    }

    private func everyRest() -> [Rest] {
        var rests: [Rest] = []
        for activity in allActivities {
            for held in [false, true] {
                for (field, code) in wordErrors.enumerated() {
                    for bit28 in [false, true] {
                        let raw = documented([], [], activity, bit28: bit28, errorField: UInt32(field), held: held)
                        rests.append(Rest(activity: activity, error: code, invalid: bit28 && field != 0,
                                          locked: bit28 && field == 0, held: held, raw: raw))
                    }
                }
            }
        }
        return rests
    }

    /// 256 access sets, 633 queues, 8 activities, 8 kinds of error or lock, held or not: 20,742,144 words.
    func testEveryCombinationOfFieldsIsOneWordAndReadsBack() {
        let rests = everyRest()
        XCTAssertEqual(Set(rests.map(\.raw)).count, 128)
        var wrong = 0
        for set in 0..<256 {
            let access = (0..<4).map { allAccess[(set >> (2 * $0)) & 3] }
            for queue in WordTests.everyQueue {
                var base = WordState(.resting)
                for waiter in queue { base.enqueue(waiter) }
                for client in 0..<UInt32(4) { base.setAccess(access[Int(client)], of: client) }
                let raw = documented(access, queue)
                if base.raw != raw { wrong += 1 }
                rests.withUnsafeBufferPointer { rests in
                    for rest in rests where !agrees(base, raw, rest) { wrong += 1 }
                }
            }
        }
        XCTAssertEqual(wrong, 0)
    }

    private func agrees(_ base: WordState, _ raw: UInt32, _ rest: Rest) -> Bool {
        var s = base
        s.activity = rest.activity
        s.isHeld = rest.held
        s.error = rest.error
        if rest.invalid { s.isInvalid = true }
        if rest.locked { s.isWriteLocked = true }
        return !s.overflowed && s.raw == raw | rest.raw && s.activity == rest.activity && s.error == rest.error
            && s.isInvalid == rest.invalid && s.isWriteLocked == rest.locked && s.isHeld == rest.held
    }

    func testEveryQueueWithEveryOperationOnIt() {
        for queue in WordTests.everyQueue {
            for client in 0..<UInt32(4) {
                for write in [false, true] {
                    var s = WordState(.resting), model = ModelState()
                    for waiter in queue {
                        s.enqueue(waiter)
                        model.enqueue(waiter)
                    }
                    s.enqueue(Waiter(client: client, write: write))
                    model.enqueue(Waiter(client: client, write: write))
                    XCTAssertEqual(StateDump(s, clients: 4), StateDump(model, clients: 4))
                    s.removeWaiter(client)
                    model.removeWaiter(client)
                    XCTAssertEqual(StateDump(s, clients: 4), StateDump(model, clients: 4))
                    assertQueueIsCanonical(s)
                }
            }
            for count in 0...queue.count {
                var s = WordState(.resting), model = ModelState()
                for waiter in queue {
                    s.enqueue(waiter)
                    model.enqueue(waiter)
                }
                s.grantFirst(count, .read)
                model.grantFirst(count, .read)
                XCTAssertEqual(StateDump(s, clients: 4), StateDump(model, clients: 4))
                assertQueueIsCanonical(s)
            }
        }
    }

    private func assertQueueIsCanonical(_ s: WordState) {
        var s = s
        s.activity = .pagingIn
        assertHolds(s.violation())
    }

    func testBrokenWordsAreFound() {
        func violation(_ raw: UInt32) -> String { state(raw).violation().map { "\($0)" } ?? "" }
        XCTAssertEqual(violation(1), "")
        XCTAssertTrue(violation(documented([.write, .read])).hasPrefix("P1"))
        XCTAssertTrue(violation(documented([.write, .none, .write])).hasPrefix("P1"))
        let waiter = Waiter(client: 2, write: false)
        XCTAssertTrue(violation(documented([], [waiter, waiter], .pagingIn)).hasPrefix("P2"))
        XCTAssertTrue(violation(documented([], [waiter])).hasPrefix("P3"))
        XCTAssertTrue(violation(documented([.revoking])).hasPrefix("P4"))
        XCTAssertEqual(violation(documented([.revoking, .write], [], .flushing)), "")
        XCTAssertTrue(violation(1 | 1 << 25 | 1 << 13).hasPrefix("W2"))
        XCTAssertTrue(violation(1 | 1 << 25 | 8 << 9).hasPrefix("W2"))
    }
}
