// Every world that one page, its kernels and the service around the rules can get into.
//
// Guarantees, for each configuration (Configurations.swift): all checks of README.md hold in every world and in every step;
// every part of the rules was reached; the numbers of worlds and steps are the committed ones.
//
// PROTOCOL_TESTS=<text>: only configurations whose name contains it. PROTOCOL_TESTS_DEEP=1: the largest as well.
// Debug builds search the small ones only: use `swift test -c release -Xswiftc -enable-testing`.

import Dispatch
import Foundation
import XCTest
@testable import Pager

/// The searches' results. Made once, for all tests.
enum Explored {
    struct Entry {
        var configuration: Configuration
        var result: SearchResult
        var seconds: Double
    }

    static let all: [Entry] = {
        let environment = ProcessInfo.processInfo.environment
        let only = environment["PROTOCOL_TESTS"]
        var configurations = environment["PROTOCOL_TESTS_DEEP"] == nil ? Configuration.usual
            : Configuration.deep + Configuration.usual
        configurations.removeAll { only != nil && !$0.name.contains(only!) }
#if DEBUG
        configurations.removeAll { $0.states > 300_000 }
        print("a debug build: only \(configurations.count) configurations are searched")
#endif
        var entries: [Entry?] = Array(repeating: nil, count: configurations.count)
        let lock = NSLock()
        var next = 0
        DispatchQueue.concurrentPerform(iterations: 2) { _ in
            while true {
                lock.lock()
                let mine = next
                next += 1
                lock.unlock()
                if mine >= configurations.count { return }
                let start = Date()
                let result = Search(configurations[mine].bounds).run()
                lock.lock()
                entries[mine] = Entry(configuration: configurations[mine], result: result,
                                      seconds: Date().timeIntervalSince(start))
                lock.unlock()
            }
        }
        return entries.compactMap { $0 }
    }()
}

final class ExhaustiveTests: XCTestCase {
    func testEveryWorld() {
        for entry in Explored.all {
            let result = entry.result, configuration = entry.configuration
            print("\(configuration.name): \(result.states) states, \(result.transitions) transitions, \(result.rests) at rest, "
                + "\(result.pages.count) page states, \(result.questions.count) questions, \(Int(entry.seconds.rounded())) s")
            if let failure = result.failure {
                XCTFail("\(configuration.name): \(failure)")
                continue
            }
            if (result.states, result.transitions) != (configuration.states, configuration.transitions) {
                XCTFail("\(configuration.name): (\(result.states), \(result.transitions)) instead of "
                    + "(\(configuration.states), \(configuration.transitions)). If the rules or the model were changed on purpose, "
                    + "put the new numbers into Configurations.swift and README.md, and say why in the commit.")
            }
        }
    }

    /// The search is no use where it does not get to.
    func testEverythingIsReached() throws {
        try XCTSkipIf(ProcessInfo.processInfo.environment["PROTOCOL_TESTS"] != nil)
        var actions: Set<Action> = [], activities: Set<Activity> = [], kinds: Set<String> = []
        var fates: Set<DataFate> = [], held: Set<HeldFate> = []
        for entry in Explored.all {
            for page in entry.result.pages { activities.insert(page.activity) }
            for effects in entry.result.effects {
                actions.insert(effects.action)
                fates.insert(effects.data)
                held.insert(effects.held)
            }
            for question in entry.result.questions { kinds.insert(String("\(question.event)".prefix { $0 != "(" })) }
        }
        XCTAssertEqual(actions.count, Int(Action.flush.rawValue) + 1)
        XCTAssertEqual(activities.count, Int(Activity.notifying.rawValue) + 1)
        XCTAssertEqual(fates, [.used, .store, .discard])
        XCTAssertEqual(held, [.unchanged, .drop, .keep])
        XCTAssertEqual(kinds, ["request", "unlock", "returned", "lockCompleted", "released", "clientGone", "readDone", "writeDone",
                               "unlockDone", "sent", "notified", "writtenBack", "offered"])
    }
}
