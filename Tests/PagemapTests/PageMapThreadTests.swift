// The map under several threads, without a lock.

import CPlatform
import Foundation
import Synchronization
import XCTest
@testable import Pager

/// Runs the body once in each of `count` threads of the platform; returns when all are done. No body begins before
/// every thread was made, so that a body may let allocations fail.
func inThreads(_ count: Int, _ body: @escaping (Int) -> Void) {
    final class Start {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }
    let gate = DispatchSemaphore(value: 0), done = DispatchGroup()
    var started = 0
    for index in 0..<count {
        done.enter()
        let start = Unmanaged.passRetained(Start {
            gate.wait()
            body(index)
            done.leave()
        })
        let error = platform_thread_start({ argument in
            Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue().body()
        }, start.toOpaque())
        XCTAssertEqual(error, 0)
        if error == 0 {
            started += 1
        } else {
            start.release()
            done.leave()
        }
    }
    for _ in 0..<started { gate.signal() }
    done.wait()
}

final class PageMapThreadTests: PagemapTestCase {
    private let threads = 8

    func testThreadsThatTouchTheSamePagesGetTheSameWords() {
        for round in 0..<30 {
            withMap { map in
                var random = SeededRandom(UInt64(round))
                let pages = (0..<40).map { _ in random.next() >> UInt64(random.below(64)) }
                let addresses = Mutexed([[UInt64: WordPointer]](repeating: [:], count: threads))
                inThreads(threads) { index in
                    var mine: [UInt64: WordPointer] = [:]
                    var random = SeededRandom(UInt64(index))
                    for page in pages.shuffled(using: &random) {
                        let word = map.touch(page)!
                        word.pointee.wrappingAdd(1, ordering: .relaxed)
                        mine[page] = word
                    }
                    addresses.with { $0[index] = mine }
                }
                let all = addresses.value
                for page in pages {
                    for index in 0..<threads { XCTAssertEqual(all[index][page], map.word(at: page)) }
                }
                for page in Set(pages) {
                    let times = pages.filter { $0 == page }.count
                    XCTAssertEqual(map.word(at: page)!.pointee.load(ordering: .relaxed), UInt32(times * threads))
                }
                // The copies that lost are freed: leaves in the tree are all there are.
                assertHolds(map.violation())
            }
        }
    }

    func testAReaderFindsAWordOfWhichItHeardWhileOthersGrowTheMap() {
        withMap { map in
            let published = Mutexed<[(UInt64, WordPointer)]>([])
            inThreads(threads) { index in
                var random = SeededRandom(UInt64(100 + index))
                for step in 0..<400 {
                    if index % 2 == 0 {
                        let page = random.next() >> UInt64(64 - step * 64 / 400 - 1)
                        let word = map.touch(page)!
                        published.with { $0.append((page, word)) }
                    } else {
                        let known = published.with { $0.suffix(20) }
                        for (page, word) in known { XCTAssertEqual(map.word(at: page), word) }
                    }
                }
            }
        }
    }

    func testAWalkSeesEveryEarlierWordOnceAndInOrderWhileOthersGrowTheMap() {
        withMap { map in
            var random = SeededRandom(23)
            let early = Set((0..<500).map { _ in random.next() >> UInt64(random.below(60)) })
            for page in early { map.touch(page)!.pointee.store(1, ordering: .relaxed) }
            inThreads(threads) { index in
                var random = SeededRandom(UInt64(200 + index))
                if index < 4 {
                    for _ in 0..<200 {
                        let page = random.next() >> UInt64(random.below(60))
                        map.touch(page)!.pointee.store(1, ordering: .relaxed)
                    }
                } else {
                    for _ in 0..<3 {
                        var seen: [UInt64] = []
                        map.forEachWord(in: 0...UInt64.max) { page, _ in seen.append(page) }
                        XCTAssertTrue(zip(seen, seen.dropFirst()).allSatisfy { $0 < $1 })
                        XCTAssertTrue(early.isSubset(of: seen))
                    }
                }
            }
        }
    }

    func testConcurrentTouchesWithoutMemoryLoseNoWord() {
        withMap { map in
            let failures = Mutexed(0)
            inThreads(threads) { index in
                var random = SeededRandom(UInt64(300 + index))
                for step in 0..<500 {
                    if step % 7 == 0 { platform_fail_allocation(random.below(3)) }
                    let page = random.next() >> UInt64(random.below(64))
                    if let word = map.touch(page) {
                        XCTAssertEqual(map.word(at: page), word)
                    } else {
                        failures.with { $0 += 1 }
                    }
                }
            }
            platform_fail_allocation(-1)
            XCTAssertGreaterThan(failures.value, 0)
        }
    }
}

/// A value under a lock.
final class Mutexed<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var stored: Value
    init(_ value: Value) { stored = value }
    @discardableResult
    func with<Result>(_ body: (inout Value) -> Result) -> Result {
        lock.lock()
        defer { lock.unlock() }
        return body(&stored)
    }
    var value: Value { with { $0 } }
}
