//! Runs the template's CloudFront functions in CloudFront before the deployment. CloudFront accepts code that its
//! runtime cannot run, and then responds to every request with 503.

use std::path::Path;

use serde_json::{Value, json};

use super::{StackName, command::Command};
use crate::{
    failure::{Exit, Failure, os_text},
    output::Console,
};

/// The vectors that the functions' other tests also use.
const VECTORS: &str = include_str!("../../../tests/vectors/cdn.json");
/// The compute utilisation of a function, in percent, above which CloudFront may throttle it.
const BUSY: u64 = 70;

/// The stage in which a function is changed and deleted; no distribution uses it.
pub(super) const STAGE: &str = "DEVELOPMENT";

/// A function of the template.
struct Function<'a> {
    resource: &'a str,
    /// `viewer-request` or `viewer-response`.
    event: &'a str,
    runtime: &'a str,
    code: &'a str,
}

/// A test event and the expected part of the function's output.
struct Case {
    event: Value,
    pointer: &'static str,
    expected: Value,
}

/// Runs every function of a packaged template on a few events, under temporary names.
pub(super) fn test(stack: &StackName, template: &Value, console: &mut Console<'_>) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(|error| unwritten(&error))?;
    for function in functions(template)? {
        let name = format!("{stack}-xf-test-{}", function.event);
        let etag = make(&name, &function, folder.path())?;
        let tested = run(&name, &etag, &function, folder.path(), console);
        let removed = Command::aws(["cloudfront", "delete-function", "--name", &name, "--if-match", &etag]).text();
        tested?;
        removed?;
    }
    Ok(())
}

fn functions(template: &Value) -> Result<Vec<Function<'_>>, Failure> {
    let resources = || template["Resources"].as_object().into_iter().flatten();
    let associated: Vec<_> = resources()
        .map(|(_, r)| r)
        .filter(|r| r["Type"] == "AWS::CloudFront::Distribution")
        .filter_map(|r| {
            r["Properties"]["DistributionConfig"]["DefaultCacheBehavior"]["FunctionAssociations"].as_array()
        })
        .flatten()
        .collect();
    let found = resources().filter(|(_, r)| r["Type"] == "AWS::CloudFront::Function");
    found
        .map(|(resource, r)| {
            let unread =
                || Failure::new(Exit::Failed, format!("the function {resource} of the template cannot be read"));
            let of = associated.iter().find(|a| a["FunctionARN"]["Fn::GetAtt"][0] == resource.as_str());
            let event = of.and_then(|a| a["EventType"].as_str()).ok_or_else(unread)?;
            let runtime = r["Properties"]["FunctionConfig"]["Runtime"].as_str().ok_or_else(unread)?;
            let code = r["Properties"]["FunctionCode"].as_str().ok_or_else(unread)?;
            Ok(Function { resource, event, runtime, code })
        })
        .collect()
}

/// Creates the function, unpublished, and returns its version.
fn make(name: &str, function: &Function<'_>, folder: &Path) -> Result<String, Failure> {
    let code = folder.join(format!("{}.js", function.event));
    std::fs::write(&code, function.code).map_err(|error| unwritten(&error))?;
    let with = [
        "--name".to_owned(),
        name.to_owned(),
        "--function-config".to_owned(),
        format!("Comment=Tested by xf deploy,Runtime={}", function.runtime),
        "--function-code".to_owned(),
        format!("fileb://{}", code.display()),
    ];
    let made = Command::aws(["cloudfront", "create-function"]).and(with.clone()).json();
    let made = match made {
        // Left by a deployment that was killed.
        Err(failure) if failure.detail().contains("FunctionAlreadyExists") => {
            let left = Command::aws(["cloudfront", "describe-function", "--name", name, "--stage", STAGE]).json()?;
            Command::aws(["cloudfront", "update-function"]).and(with).and(["--if-match", &etag(&left)?]).json()
        }
        made => made,
    };
    etag(&made?)
}

fn etag(answer: &Value) -> Result<String, Failure> {
    let etag = answer["ETag"].as_str().map(ToOwned::to_owned);
    etag.ok_or_else(|| Failure::new(Exit::Failed, "CloudFront returned no version of a function"))
}

fn run(
    name: &str,
    etag: &str,
    function: &Function<'_>,
    folder: &Path,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let mut busiest = 0;
    for case in cases(function.event) {
        let file = folder.join("event.json");
        std::fs::write(&file, case.event.to_string()).map_err(|error| unwritten(&error))?;
        let event = format!("fileb://{}", file.display());
        let answer = Command::aws(["cloudfront", "test-function", "--name", name, "--if-match", etag])
            .and(["--stage", STAGE, "--event-object", &event])
            .json()?;
        let result = &answer["TestResult"];
        let failed = |why: String| {
            let detail =
                format!("the CloudFront function {} fails, and nothing was deployed: {why}", function.resource);
            Failure::new(Exit::Failed, detail)
                .or_hint("infra/check lists the parts of its code that CloudFront's runtime does not support")
        };
        if let Some(error) = result["FunctionErrorMessage"].as_str().filter(|error| !error.is_empty()) {
            return Err(failed(error.to_owned()));
        }
        let output = result["FunctionOutput"].as_str().unwrap_or_default();
        let output: Value = serde_json::from_str(output).unwrap_or_default();
        let given = output.pointer(case.pointer).unwrap_or(&Value::Null);
        if *given != case.expected {
            return Err(failed(format!("it returns {given} instead of {}", case.expected)));
        }
        // A number in a string.
        let used = result["ComputeUtilization"].as_str().and_then(|used| used.parse().ok()).unwrap_or_default();
        busiest = busiest.max(used);
    }
    if busiest > BUSY {
        console.note(format_args!(
            "the CloudFront function {} takes {busiest} % of the time that CloudFront allows",
            function.resource
        ));
    }
    Ok(())
}

fn cases(event_type: &str) -> Vec<Case> {
    let vectors: Value = serde_json::from_str(VECTORS).expect("the vectors are JSON");
    let event = |request: Value| {
        let mut event = json!({
            "version": "1.0",
            "context": {"eventType": event_type},
            "viewer": {"ip": "198.51.100.11"},
            "request": {"method": "GET", "uri": "", "querystring": {}, "headers": {}, "cookies": {}},
        });
        if let (Some(into), Some(fields)) = (event["request"].as_object_mut(), request.as_object()) {
            into.extend(fields.clone());
        }
        if event_type == "viewer-response" {
            event["response"] = json!({"statusCode": 200, "statusDescription": "OK", "headers": {}, "cookies": {}});
        }
        event
    };
    if event_type == "viewer-request" {
        let served = &vectors["served"][0];
        let refused = &vectors["refused"][3];
        let auto = vectors["served"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let auto = auto.clone().find(|path| path.ends_with(".auto")).expect("a vector is negotiated");
        let accept = json!({"accept": {"value": "image/avif,image/webp;q=0.9,*/*;q=0.8"}});
        return vec![
            Case { event: event(json!({"uri": served})), pointer: "/request/uri", expected: served.clone() },
            Case { event: event(json!({"uri": refused})), pointer: "/response/statusCode", expected: json!(404) },
            Case {
                event: event(json!({"uri": auto, "headers": accept})),
                pointer: "/request/uri",
                expected: json!(auto.replace(".auto", ".avif")),
            },
        ];
    }
    // They include names that are encoded, truncated, or contain characters outside the BMP.
    let downloads = vectors["downloads"].as_array().into_iter().flatten();
    let plain = event(json!({"uri": vectors["served"][0]}));
    let unchanged = Case { event: plain, pointer: "/response/statusCode", expected: json!(200) };
    let named = downloads.step_by(3).map(|vector| Case {
        event: event(json!({"uri": vector["path"], "querystring": {"download": {"value": vector["download"]}}})),
        pointer: "/response/headers/content-disposition/value",
        expected: vector["disposition"].clone(),
    });
    std::iter::once(unchanged).chain(named).collect()
}

fn unwritten(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("cannot write a temporary file: {}", os_text(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_tested_with_the_event_type_of_its_association() {
        let template = json!({"Resources": {
            "Last": {"Type": "AWS::CloudFront::Function", "Properties": {
                "FunctionConfig": {"Runtime": "cloudfront-js-2.0"}, "FunctionCode": "code"}},
            "Cdn": {"Type": "AWS::CloudFront::Distribution", "Properties": {"DistributionConfig": {
                "DefaultCacheBehavior": {"FunctionAssociations": [
                    {"EventType": "viewer-response", "FunctionARN": {"Fn::GetAtt": ["Last", "FunctionARN"]}}]}}}},
        }});
        let functions = functions(&template).unwrap();
        assert_eq!((functions.len(), functions[0].event, functions[0].code), (1, "viewer-response", "code"));
    }

    #[test]
    fn there_are_few_cases_and_each_has_an_expected_result() {
        for event in ["viewer-request", "viewer-response"] {
            let cases = cases(event);
            assert!((3..12).contains(&cases.len()), "{event}: {}", cases.len());
            assert!(cases.iter().all(|case| case.event["context"]["eventType"] == event));
            assert!(cases.iter().all(|case| case.event["request"]["uri"].is_string()));
        }
    }
}
