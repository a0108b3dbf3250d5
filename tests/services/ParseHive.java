import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.hadoop.hive.ql.parse.ParseDriver;

/** Parses each statement of a file, without comments, as Hive does. */
public class ParseHive {
  public static void main(String[] arguments) throws Exception {
    for (String statement : Files.readString(Path.of(arguments[0])).split(";\n")) {
      new ParseDriver().parse(statement.strip());
      System.out.println(statement.strip().lines().findFirst().get());
    }
  }
}
